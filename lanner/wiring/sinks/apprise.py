"""The services of Apprise that the settings ask for."""

import os
from collections.abc import Mapping

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.kafka import secret
from notifier.delivery.outcome import RemoteSink


def apprise_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> RemoteSink:
    """Give Apprise with its services. Raises BadInput."""
    problems: list[str] = []
    text = secret(
        "apprise_output.urls_file",
        "LANNER_APPRISE_URLS",
        settings.apprise_output.urls_file,
        environment,
        problems,
    )
    urls = [each.strip() for each in text.splitlines() if each.strip() and not each.strip().startswith("#")]
    if not urls and not problems:
        problems.append(
            "apprise_output needs addresses: set apprise_output.urls_file, or put them into $LANNER_APPRISE_URLS, "
            "one a line."
        )
    if problems:
        raise BadInput(*problems)
    try:
        from notifier.remote.apprise import AppriseSink, BadService  # noqa: PLC0415  needs an extra of its own
    except ModuleNotFoundError:
        raise BadInput("apprise_output needs apprise: pip install 'lanner[apprise]'.") from None
    try:
        return AppriseSink(urls)
    except BadService as error:
        raise BadInput(f"apprise_output: {error}") from None
