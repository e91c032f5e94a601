"""Rules for tests that need no rule file."""

from dataclasses import dataclass

from processor.language.ast import Node
from processor.rule import Suppress
from schemas.catalog.priorities import Priority


@dataclass(frozen=True, slots=True)
class DetectionRule:
    """A rule as plain values, without a rule file."""

    name: str
    condition: Node
    output: str
    priority: Priority = Priority.NOTICE
    tags: tuple[str, ...] = ()
    source: str = "syscall"
    description: str = ""
    response: str = ""
    suppress: Suppress | None = None
    python: None = None
