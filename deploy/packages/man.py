"""Print lanner's man page, from the help of all commands."""

import os
import sys
import time
from collections.abc import Iterator

import click

import lanner
from lanner.cli.app import lanner_command

_WIDTH = 78


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    """Yield a command's context, and those of the commands below it."""
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from commands(below, click.Context(below, context, name, terminal_width=_WIDTH))


def escaped(text: str) -> str:
    """Return a text for troff: no line is a request, and hyphens can be copied."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def page() -> str:
    """Return the page; its date is the commit's."""
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
    parts = [
        f'.TH LANNER 1 "{day}" "lanner {lanner.__version__}" "User Commands"',
        f".SH NAME\nlanner \\- {escaped(lanner_command.get_short_help_str(_WIDTH).rstrip('.'))}",
    ]
    for context in commands(lanner_command, click.Context(lanner_command, info_name="lanner", terminal_width=_WIDTH)):
        title = "SYNOPSIS" if context.parent is None else context.command_path
        parts.append(f'.{"SH" if context.parent is None else "SS"} "{escaped(title)}"\n.nf')
        parts.append(escaped(context.command.get_help(context)))
        parts.append(".fi" + ("\n.SH COMMANDS" if context.parent is None else ""))
    parts.append(
        ".SH FILES\n.TP\n/etc/lanner/lanner.yaml\nSettings; all of them: lanner config default.\n"
        ".TP\n/etc/lanner/rules.d\nYour own rule files, which are loaded after the built\\-in ones."
    )
    return "\n".join(parts) + "\n"


sys.stdout.write(page())
