"""Rules as a processor judges by them, and what they were made of."""

from collections.abc import Callable
from dataclasses import dataclass

from processor.evaluator import CompiledRuleset
from processor.loading.difference import RuleSnapshot
from schemas.batch import EventBatch
from schemas.errors import LannerError
from schemas.published_rules import PublishedRules

FILES = "files"
"""As a version: the rules come from this processor's own files."""


class RulesRefused(LannerError):
    """A published version can't be used; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class RulesInUse:
    """One version, compiled."""

    judges: CompiledRuleset
    rules: RuleSnapshot
    """As they were loaded, for the difference to the next version."""
    decode: Callable[[bytes], EventBatch]
    """Bytes to a checked batch, with the host names that these rules ask about; raises BadBatch."""
    close: Callable[[], None]
    """Ends what was started for them."""
    interest: bytes = b""
    """What collectors have to send for them, encoded."""
    published: PublishedRules | None = None
    signed_by: str = ""
    origin: str = ""
    """Where rules of files came from."""
    offset: int = -1
    """In the topic of rules."""

    @property
    def told(self) -> str:
        """In a few words, what is judged by."""
        count = len(self.judges.rule_names)
        if self.published is None:
            return f"{count} rules from {self.origin}"
        signed = f", signed by {self.signed_by}" if self.signed_by else ""
        return f"{count} rules of version {self.version}{signed}, which {self.published.publisher} published"

    @property
    def version(self) -> str:
        """The version's name."""
        return FILES if self.published is None else self.published.version
