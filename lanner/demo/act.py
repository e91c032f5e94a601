"""What an act is, and the hands that it acts with.

Acts are done by other processes, never by the caller's: Lanner doesn't watch itself.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lanner.demo.docker import DemoDocker
from schemas.errors import LannerError

Need = Literal["root", "docker"]

LONGEST = 30.0
"""Seconds after which a step of an act is ended; the longest takes seven."""

PROGRAMS = Path(__file__).parent / "programs"


class DemoSkipped(LannerError):
    """This machine can't do the act; the text says why in a few words."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """What an act may use."""

    directory: Path
    """Empty, the act's own, removed afterwards by the caller."""
    docker: DemoDocker | None = None

    def run(self, *command: str, user: int | None = None) -> int:
        """Run a program to its end, quietly, and give its exit code: for most acts it doesn't matter.

        Args:
            command: the program and its arguments.
            user: the user id to run it as, with no group but its own.

        Raises: ActSkipped where the program is missing.
        """
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=LONGEST,
                check=False,
                cwd="/",
                user=user,
                group=user,
                extra_groups=None if user is None else (),
            )
        except FileNotFoundError:
            raise DemoSkipped(f"{command[0]} is not installed") from None
        except PermissionError:
            raise DemoSkipped(f"{command[0]} may not be run here") from None
        except subprocess.TimeoutExpired:
            raise DemoSkipped(f"{command[0]} did not end within {LONGEST:.0f} s") from None
        return done.returncode

    def python(self, program: str, *arguments: str) -> int:
        """Run one of the programs beside this module, for what no ordinary command does."""
        return self.run(sys.executable, "-I", str(PROGRAMS / f"{program}.py"), *arguments)

    def in_container(self, *command: str, tty: bool = False) -> None:
        """Run a program in a container that is made for it. Raises ActSkipped where there is no Docker."""
        if self.docker is None:
            raise DemoSkipped("no Docker here")
        problem = self.docker.run(*command, tty=tty)
        if problem:
            raise DemoSkipped(problem)


@dataclass(frozen=True, slots=True)
class DemoAction:
    """One harmless act and the alert that it should give."""

    rule: str
    priority: str
    """As the rule has it, capitalised as in an alert line."""
    does: str
    """What is done, in words."""
    touches: str
    """What it changes on this machine and how that is undone."""
    run: Callable[[DemoContext], None]
    needs: frozenset[Need] = frozenset({"root"})
