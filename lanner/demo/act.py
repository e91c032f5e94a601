"""A demo action and the helpers it uses.

Actions run in other processes, because Lanner ignores its own process.
"""

import shutil
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
"""Time limit for each step of an action, seconds; the slowest takes seven."""

PROGRAMS = Path(__file__).parent / "programs"


class DemoSkipped(LannerError):
    """The action can't run on this machine; the message is the reason."""


@dataclass(frozen=True, slots=True)
class DemoContext:
    """What an action may use."""

    directory: Path
    """The action's own directory, initially empty; the caller removes it."""
    docker: DemoDocker | None = None

    def run(self, *command: str, user: int | None = None) -> int:
        """Run a program to completion without output, and return its exit code, which most actions ignore.

        Args:
            command: the program and its arguments.
            user: the user id to run it as, with only that user's group.

        Raises: DemoSkipped if the program is missing.
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
            raise DemoSkipped(f"{command[0]} isn't allowed to run here") from None
        except subprocess.TimeoutExpired:
            raise DemoSkipped(f"{command[0]} did not end within {LONGEST:.0f} s") from None
        return done.returncode

    def python(self, program: str, *arguments: str) -> int:
        """Run one of the programs beside this module, for what ordinary commands can't do."""
        return self.run(sys.executable, "-I", str(PROGRAMS / f"{program}.py"), *arguments)

    def in_container(self, *command: str, tty: bool = False) -> None:
        """Run a program in a new container. Raises DemoSkipped without Docker."""
        if self.docker is None:
            raise DemoSkipped("no Docker daemon")
        problem = self.docker.run(*command, tty=tty)
        if problem:
            raise DemoSkipped(problem)


def copy_program(name: str, directory: Path, copy: str) -> str:
    """Copy a program of this machine under another name and return the copy's path. Raises DemoSkipped."""
    original = shutil.which(name)
    if original is None:
        raise DemoSkipped(f"{name} is not installed")
    target = directory / copy
    shutil.copy(original, target)
    return str(target)


@dataclass(frozen=True, slots=True)
class DemoAction:
    """A harmless action and the alert that it should raise."""

    rule: str
    priority: str
    """The rule's priority, capitalized as in an alert line."""
    does: str
    """Description of the action."""
    touches: str
    """What it changes on this machine, and how that is undone."""
    run: Callable[[DemoContext], None]
    needs: frozenset[Need] = frozenset({"root"})
