"""Runs the command line: every error ends as an exit code and a message, never as a traceback."""

import os
import sys

import click

from bus.connection import BusUnavailable
from foundation.errors import EnvironmentUnsupported, TooBusy
from lanner.cli.app import lanner_command
from lanner.errors import BAD_INPUT, ENVIRONMENT_LACKS, TOO_BUSY, BadInput
from lanner.terminal.output import error_line


def run_command_line() -> int:
    """Run the command line.

    Returns:
        0: success; 1: bad input; 2: bad usage; 3: the environment lacks something; 4: the host is too busy.

    """
    try:
        code = lanner_command.main(prog_name="lanner", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 0
    except BrokenPipeError:
        return _closed()
    except SystemExit:
        # click raises it for a closed pipe; Lanner never does.
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
        if isinstance(error, EnvironmentUnsupported):
            error_line("`lanner doctor` shows what this host supports and what is missing.")
        return ENVIRONMENT_LACKS
    except PermissionError as error:
        where = f"{error.filename}: " if error.filename else ""
        error_line(f"{where}{error.strerror}. Run this as a user with permission, or choose another path.")
        return BAD_INPUT
    except Exception as error:  # a bug in Lanner; LANNER_DEBUG shows the traceback
        if os.environ.get("LANNER_DEBUG"):
            raise
        what = " ".join(f"{type(error).__name__}: {error}".split())[:500]
        error_line(
            f"internal error; this is a bug in Lanner: {what}. LANNER_DEBUG=1 shows a traceback; please report it."
        )
        return BAD_INPUT
    return code if isinstance(code, int) else 0


def _closed() -> int:
    """Exit quietly when the reader closes the pipe; Python's final flush must not fail either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
