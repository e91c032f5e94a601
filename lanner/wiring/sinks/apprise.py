"""The Apprise sink that the settings describe."""

from lanner.installation.libraries import remedy
from lanner.settings.faults import BadSettings, SettingFault
from lanner.wiring.kafka import secret
from lanner.wiring.sinks.kinds import Opener, SinkContext
from notifier.delivery.outcome import RoutedAlert
from notifier.formats.wording import wording


def prepare_apprise(context: SinkContext) -> Opener:
    """Return what opens Apprise with its services. Raises BadSettings."""
    problems: list[SettingFault] = []
    text = secret(
        "apprise_output.urls_file",
        "LANNER_APPRISE_URLS",
        context.section.urls_file,
        context.environment,
        problems,
    )
    urls = [each.strip() for each in text.splitlines() if each.strip() and not each.strip().startswith("#")]
    if not urls and not problems:
        hint = "set apprise_output.urls_file or $LANNER_APPRISE_URLS, with one URL a line"
        problems.append(SettingFault("apprise_output.enabled", "apprise_output needs URLs.", hint, follows=True))
    if problems:
        raise BadSettings(*problems)
    try:
        from notifier.remote.apprise import AppriseSink, BadService  # noqa: PLC0415  needs an extra of its own
    except ModuleNotFoundError:
        text = "apprise_output needs the apprise library."
        raise BadSettings(SettingFault("apprise_output.enabled", text, remedy("apprise"))) from None
    try:
        sink = AppriseSink(urls)
    except BadService as error:
        raise BadSettings(SettingFault("apprise_output.urls_file", f"apprise_output: {error}")) from None
    return lambda: sink


def preview_apprise(_: SinkContext, routed: RoutedAlert) -> str:
    """Return title and body."""
    return "\n".join(wording(routed.rendered))
