"""How a command ends: always by an exit code and, if need be, a sentence; never by a traceback."""

import os
import sys

import click

from bus.errors.unavailable import BusUnavailable
from collector.errors import EnvironmentUnsupported, TooBusy
from lanner.cli.app import lanner_command
from lanner.cli.terminal.output import error_line
from lanner.errors import BAD_INPUT, ENVIRONMENT_LACKS, TOO_BUSY, BadInput


def run_command_line() -> int:
    """Run the command line and give its exit code.

    0: fine; 1: bad input; 2: bad usage; 3: the environment lacks something; 4: the host is too busy right now.
    """
    try:
        code = lanner_command.main(prog_name="lanner", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 0
    except BrokenPipeError:
        return _closed()
    except SystemExit:
        # What click makes of a closed pipe; nothing of ours raises it.
        return _closed()
    except BadInput as error:
        for message in error.messages:
            error_line(message)
        return BAD_INPUT
    except TooBusy as error:
        error_line(f"{error.reason}: {error.remedy}.")
        return TOO_BUSY
    except (EnvironmentUnsupported, BusUnavailable) as error:
        error_line(f"{error.reason}: {error.remedy}.")
        error_line("`lanner doctor` shows what this host has and lacks.")
        return ENVIRONMENT_LACKS
    except PermissionError as error:
        where = f"{error.filename}: " if error.filename else ""
        error_line(f"{where}{error.strerror}. Run this as a user who may, or choose another place.")
        return BAD_INPUT
    except Exception as error:  # what is left is a fault of ours; LANNER_DEBUG shows where
        if os.environ.get("LANNER_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        error_line(f"a fault in Lanner itself: {what}. LANNER_DEBUG=1 shows where; please report it.")
        return BAD_INPUT
    return code if isinstance(code, int) else 0


def _closed() -> int:
    """End quietly: the reader has what it wanted. Python's last flush must not complain either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
