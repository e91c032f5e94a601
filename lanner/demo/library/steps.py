"""Short forms of actions: a script, a program under another name, a piece of Python, a program in a container."""

import sys
from collections.abc import Callable

from lanner.demo.act import DemoAction, DemoContext, copy_program

NOBODY = 65534
OWN_DIRECTORY = "An empty directory below /tmp, removed afterwards."
NOTHING = "Nothing: the output is discarded."
OWN_FILE_SYSTEM = "Nothing: the file system disappears with the action."
_IN_CONTAINER = "A container from a small image of this machine's programs; both are removed."

Step = Callable[[DemoContext], None]


def script(text: str) -> Step:
    """Return a step that runs a shell script, whose $1 is the action's own directory."""

    def run(context: DemoContext) -> None:
        context.run("sh", "-c", text, "demo", str(context.directory))

    return run


def over(place: str, text: str) -> Step:
    """Return a step that runs a shell script with an empty file system at a place, in a mount namespace of its own."""

    def run(context: DemoContext) -> None:
        context.run("unshare", "--mount", "sh", "-c", f"mount -t tmpfs none {place} && {text}")

    return run


def named(program: str, name: str, *arguments: str) -> Step:
    """Return a step that runs a copy of a program under another name."""

    def run(context: DemoContext) -> None:
        context.run(copy_program(program, context.directory, name), *arguments)

    return run


def python(code: str, *, user: int | None = None) -> Step:
    """Return a step that runs Python code, perhaps as another user."""

    def run(context: DemoContext) -> None:
        context.run(sys.executable, "-I", "-c", code, user=user)

    return run


def program(name: str) -> Step:
    """Return a step that runs one of the demo's programs."""

    def run(context: DemoContext) -> None:
        context.python(name)

    return run


def inside(*command: str, tty: bool = False) -> Step:
    """Return a step that runs a program in a container, perhaps with a terminal."""

    def run(context: DemoContext) -> None:
        context.in_container(*command, tty=tty)

    return run


def on_host(rule: str, priority: str, does: str, run: Step, touches: str) -> DemoAction:
    """Return an action on the host."""
    return DemoAction(rule, priority, does, touches, run)


def in_container(rule: str, priority: str, does: str, run: Step) -> DemoAction:
    """Return an action in a container."""
    return DemoAction(rule, priority, does, _IN_CONTAINER, run, frozenset({"root", "docker"}))
