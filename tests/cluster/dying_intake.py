"""Run `lanner` with an intake of audit events that is killed at a point. Usage: dying_intake.py POINT:N ARGUMENTS."""

import functools
import sys
from pathlib import Path

from lanner.__main__ import main
from lanner.wiring.stages import json_intake
from tests.cluster.dying_processor import dies_at

PROGRAM = str(Path(__file__))

if __name__ == "__main__":
    dying = functools.partial(json_intake.AuditIntake, at=dies_at(sys.argv.pop(1)))
    json_intake.AuditIntake = dying  # type: ignore[assignment,misc]
    sys.exit(main())
