"""What the process of a Python rule file may take; apart from what starts it, which rules needn't import."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PythonLimits:
    """Limits of one process."""

    seconds: float = 2.0
    """Until a request with the events of a batch is abandoned."""
    memory: int = 256 << 20
    """Bytes of address space; the interpreter takes some 60 MB of it."""


DEFAULT_LIMITS = PythonLimits()
