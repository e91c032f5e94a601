"""Lanner's command line, settings and wiring of the stages, and `load_rules` for other Python programs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanner.api import load_rules


__version__ = "0.1.0"
__all__ = ["__version__", "load_rules"]


def __getattr__(name: str) -> Any:
    """Import the engine on first use: every start of the command line imports this module."""
    if name == "load_rules":
        from lanner.api import load_rules  # noqa: PLC0415

        return load_rules
    raise AttributeError(f"module 'lanner' has no attribute {name!r}")
