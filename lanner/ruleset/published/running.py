"""Finds the version of the rules that a fleet runs, to compare another one with it."""

from bus.messages.published_rules import current
from lanner.cli.terminal.output import note
from lanner.errors import BadInput
from lanner.ruleset.compile import CompiledDetection
from lanner.ruleset.published.version import detection_of_published
from lanner.settings import Settings
from lanner.wiring.kafka import reachable_connection
from schemas.records.published_rules import BadRules, PublishedRules, decode_rules


def running_version(settings: Settings) -> tuple[PublishedRules | None, CompiledDetection | None]:
    """Return the published version, and its rules if they can still be loaded. Raises BusUnavailable."""
    message = current(reachable_connection(settings))
    if message is None:
        return None, None
    try:
        running = decode_rules(message.value() or b"")
    except BadRules as error:
        note(f"the published version can't be read ({error}), so there is nothing to compare with.")
        return None, None
    try:
        return running, detection_of_published(settings, running)
    except BadInput as error:
        note(f"version {running.version} is broken, so there is nothing to compare with. {error.messages[0]}")
        return running, None
