"""What a console shows about single alerts, as the settings describe it."""

from lanner.console.store.reading import AlertReader
from lanner.console.story.parts import StoryParts
from lanner.console.story.reading import EventArchive, StoryReader
from lanner.console.story.rules import RuleBook
from lanner.ruleset.load import ActiveRules
from lanner.settings import Settings
from processor.detection.redaction import Redaction
from schemas.alert import Alert


def story_parts(settings: Settings, alerts: AlertReader, archive: EventArchive) -> StoryParts:
    """Return the parts. alerts: the view. archive: the retained events."""
    reader = StoryReader(archive, alerts, Redaction(settings.redact))
    return StoryParts(reader, alerts, RuleBook(settings), _write_test, settings.console.siem_url or "")


def _write_test(alert: Alert, rules: ActiveRules) -> str:
    # Imported here, because `lanner run` without a console does without it.
    from lanner.ruletest.events.input import GivenAlert  # noqa: PLC0415
    from lanner.ruletest.generate.generate import case_of_alert  # noqa: PLC0415

    return case_of_alert(GivenAlert(alert.rule, alert.priority, alert.stated), rules)
