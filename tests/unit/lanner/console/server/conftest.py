from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.lanner.console.server.running import Served

Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts a console; stop all at the end."""
    started: list[Served] = []

    def make(*flags: str, **options: object) -> Served:
        made = Served(tmp_path / "console", *flags, **options)  # type: ignore[arg-type]
        started.append(made)
        return made

    yield make
    for each in started:
        each.stop()
