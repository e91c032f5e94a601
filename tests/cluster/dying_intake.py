"""Run `lanner` with an intake of audit events that is killed at a point. Usage: dying_intake.py POINT:N ARGUMENTS."""

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer

from bus.clients.readers import make_consumer
from bus.connection import Connection
from lanner.__main__ import main
from lanner.intake import sources
from lanner.wiring.stages import json_intake
from tests.cluster.dying_processor import dies_at

PROGRAM = str(Path(__file__))


def _soon_missed(connection: Connection, client: str, *, group: str, options: Mapping[str, Any]) -> Consumer:
    """Join a group so that the broker gives the partitions to another member after 6 instead of 45 seconds."""
    return make_consumer(connection, client, group=group, options={**options, "session.timeout.ms": 6_000})


if __name__ == "__main__":
    assert vars(sources)["make_consumer"] is make_consumer
    vars(sources)["make_consumer"] = _soon_missed
    dying = functools.partial(json_intake.AuditIntake, at=dies_at(sys.argv.pop(1)))
    json_intake.AuditIntake = dying  # type: ignore[assignment,misc]
    sys.exit(main())
