"""Run `lanner` with an intake of audit events that is killed at a point. Usage: dying_intake.py POINT:N ARGUMENTS."""

import functools
import sys
from pathlib import Path
from typing import Any

from bus.connection import Connection, client_config
from lanner.__main__ import main
from lanner.intake import sources
from lanner.wiring.stages import json_intake
from tests.cluster.dying_processor import dies_at

PROGRAM = str(Path(__file__))


def _soon_missed(connection: Connection, client: str) -> dict[str, Any]:
    """Return settings by which the broker gives the partitions to another member in 6 instead of 45 seconds."""
    return {**client_config(connection, client), "session.timeout.ms": 6_000}


if __name__ == "__main__":
    vars(sources)["client_config"] = _soon_missed
    dying = functools.partial(json_intake.AuditIntake, at=dies_at(sys.argv.pop(1)))
    json_intake.AuditIntake = dying  # type: ignore[assignment,misc]
    sys.exit(main())
