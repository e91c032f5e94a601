"""The Apprise sink that the settings describe."""

from lanner.errors import BadInput
from lanner.wiring.kafka import secret
from lanner.wiring.sinks.kinds import SinkContext
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink

_MISSING = "apprise_output needs apprise: pip install 'lanner[apprise]'."


def open_apprise(context: SinkContext) -> Sink:
    """Return Apprise with its services. Raises BadInput."""
    problems: list[str] = []
    text = secret(
        "apprise_output.urls_file",
        "LANNER_APPRISE_URLS",
        context.section.urls_file,
        context.environment,
        problems,
    )
    urls = [each.strip() for each in text.splitlines() if each.strip() and not each.strip().startswith("#")]
    if not urls and not problems:
        problems.append(
            "apprise_output needs URLs: set apprise_output.urls_file or $LANNER_APPRISE_URLS, with one URL a line."
        )
    if problems:
        raise BadInput(*problems)
    try:
        from notifier.remote.apprise import AppriseSink, BadService  # noqa: PLC0415  needs an extra of its own
    except ModuleNotFoundError:
        raise BadInput(_MISSING) from None
    try:
        return AppriseSink(urls)
    except BadService as error:
        raise BadInput(f"apprise_output: {error}") from None


def preview_apprise(_: SinkContext, routed: RoutedAlert) -> str:
    """Return title and body. Raises BadInput."""
    try:
        from notifier.remote.apprise import wording  # noqa: PLC0415  needs an extra of its own
    except ModuleNotFoundError:
        raise BadInput(_MISSING) from None
    return "\n".join(wording(routed.rendered))
