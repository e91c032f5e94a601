"""What a rollout asks its shell to do, in order."""

from dataclasses import dataclass
from typing import Any

from processor.correlation.plan.split import Plan
from processor.fleet.rules.version import RulesInUse
from schemas.alert import Alert
from schemas.text.notes import Level


@dataclass(frozen=True, slots=True)
class Offer:
    """A published version as received; nothing in it is trusted."""

    value: bytes | None
    """None if the published rules were deleted."""
    stamp: int
    """When it was appended, ms since the epoch."""
    offset: int
    message: Any = None
    """The whole message, for whoever compiles it."""


@dataclass(frozen=True, slots=True)
class Compile:
    """Compile a version, and report it as compiled or refused."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Support:
    """Make the correlate stage support these rules."""

    plan: Plan
    is_settled: bool
    """Whether to drop the state of other versions."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Make the detect stage evaluate a version, and close the one before."""

    rules: RulesInUse
    old: RulesInUse


@dataclass(frozen=True, slots=True)
class Close:
    """Stop resolving the host names of a version that is not evaluated."""

    rules: RulesInUse


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to a topic."""

    topic: str
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class SendAlert:
    """Send an alert, and wait until the broker has it."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class ReportChange:
    """Send the alert about the active version; once the broker has it, report that to the other processors."""

    alert: Alert
    version: str


@dataclass(frozen=True, slots=True)
class Note:
    """Print a message for an operator."""

    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class Failed:
    """Report an error in one part of a step; the other parts continue."""

    error: Exception


Action = Compile | Support | Activate | Close | Send | SendAlert | ReportChange | Note | Failed
