"""How long the adversary goes on, and by which seed it draws.

`make test` runs a short attack, `make soak` (LANNER_SOAK) a long one. LANNER_ADVERSARY_SEED chooses another seed; the
seed of a run is printed where it fails.
"""

import os

import pytest

IS_LONG = bool(os.environ.get("LANNER_SOAK"))
SHARE = float(os.environ.get("LANNER_SOAK_SHARE", "1"))
"""Share of the full length that soaks run for."""
SEED = int(os.environ.get("LANNER_ADVERSARY_SEED", "1"))

MARKS: list[pytest.MarkDecorator] = [pytest.mark.soak, pytest.mark.timeout(7200)] if IS_LONG else []
"""Marks for a module whose tests run for a long time in `make soak`."""


def chosen(short: float, long: float) -> float:
    """Return how long or how much it is in this run.

    Args:
        short: in `make test`.
        long: in `make soak`, at its full length.
    """
    return max(short, long * SHARE) if IS_LONG else short
