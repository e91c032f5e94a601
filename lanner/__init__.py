"""Lanner's command line, settings and wiring of the stages, and for other Python programs `load_rules` and `hunt`."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanner.api import load_rules

    hunt: Callable[..., Any]


__version__ = "0.1.0"
__all__ = ["__version__", "hunt", "load_rules"]


def __getattr__(name: str) -> Any:
    """Import the engine on first use: every start of the command line imports this module."""
    if name == "load_rules":
        from lanner.api import load_rules  # noqa: PLC0415

        return load_rules
    if name == "hunt":
        # By name: the packages below it import this module for the version.
        return importlib.import_module("lanner.hunting.api").hunt
    raise AttributeError(f"module 'lanner' has no attribute {name!r}")
