"""Run `lanner` with a correlate stage that takes long to read its state, as a large one does."""

import sys
import time
from typing import Any

from lanner.__main__ import main
from processor.fleet import stateful_service

SECONDS = 8.0


def read_slowly() -> None:
    """Delay the reading of the state's topic."""
    whole = stateful_service.read_tables

    def later(*arguments: Any, **options: Any) -> Any:
        time.sleep(SECONDS)
        return whole(*arguments, **options)

    stateful_service.read_tables = later  # type: ignore[assignment]


if __name__ == "__main__":
    read_slowly()
    sys.exit(main())
