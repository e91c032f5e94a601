"""What the pages and the API need for the story of an alert."""

from collections.abc import Callable
from dataclasses import dataclass

from lanner.console.store.reading import AlertReader
from lanner.console.story.reading import StoryReader
from lanner.console.story.rules import RuleBook
from lanner.ruleset.load import ActiveRules
from schemas.alert import Alert

WriteTest = Callable[[Alert, ActiveRules], str]
"""Returns a test case as the text of a test file. Raises BadInput if the alert lacks what that needs."""


@dataclass(frozen=True, slots=True)
class StoryParts:
    """Readers and writers of a console."""

    reader: StoryReader
    alerts: AlertReader
    rules: RuleBook
    write_test: WriteTest
    siem_url: str = ""
    """Template of the address of an alert in a SIEM; empty for none."""
