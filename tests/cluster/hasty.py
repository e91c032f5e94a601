"""Run `lanner`, which here waits 3 instead of 30 seconds for topics that may appear. Usage: hasty.py ARGUMENTS."""

import sys
from pathlib import Path

from bus.clients import errors
from lanner.__main__ import main

PROGRAM = str(Path(__file__))

if __name__ == "__main__":
    errors.UNKNOWN_TOPIC_SECONDS = 3.0
    sys.exit(main())
