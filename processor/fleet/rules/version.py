"""One version of the rules as a processor evaluates it, with its origin."""

from collections.abc import Callable
from dataclasses import dataclass

from processor.evaluator import CompiledRuleset
from processor.loading.difference import RuleSnapshot
from schemas.batch import EventBatch
from schemas.errors import LannerError
from schemas.records.published_rules import PublishedRules
from schemas.text.counts import count_of

FILES = "files"
"""In place of a version: the rules come from this processor's own files."""


class RulesRefused(LannerError):
    """A published version cannot be used; the message is the reason, for people."""


@dataclass(frozen=True, slots=True)
class RulesInUse:
    """One version, compiled."""

    ruleset: CompiledRuleset
    rules: RuleSnapshot
    """As loaded, for the difference to the next version."""
    decode: Callable[[bytes], EventBatch]
    """Decodes a batch and adds the host names that these rules compare with; raises BadBatch."""
    close: Callable[[], None]
    """Stops resolving host names."""
    encoded_filter: bytes = b""
    """The pushdown filter of these rules, encoded."""
    published: PublishedRules | None = None
    signed_by: str = ""
    origin: str = ""
    """Where rules from files came from."""
    offset: int = -1
    """In the rules topic."""

    @property
    def description(self) -> str:
        """A short description for people."""
        count = len(self.ruleset.rule_names) + len(self.ruleset.audit.rule_names)
        if self.published is None:
            return f"{count_of(count, 'rule')} from {self.origin}"
        signed = f", signed by {self.signed_by}" if self.signed_by else ""
        return f"{count_of(count, 'rule')} of version {self.version}{signed}, published by {self.published.publisher}"

    @property
    def version(self) -> str:
        """The version's name."""
        return FILES if self.published is None else self.published.version
