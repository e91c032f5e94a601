"""Run `lanner`, which here waits less. Usage: hasty.py ARGUMENTS.

It waits 3 instead of 30 seconds for topics that may appear, and sends a known value every 6 instead of 60 seconds.
"""

import sys
from pathlib import Path

from bus.clients import readers
from lanner.__main__ import main
from processor.matching import gathered

PROGRAM = str(Path(__file__))

if __name__ == "__main__":
    assert "UNKNOWN_TOPIC_SECONDS" in vars(readers)
    vars(readers)["UNKNOWN_TOPIC_SECONDS"] = 3.0
    gathered._PERIOD = 6
    sys.exit(main())
