"""`lanner completion`: prints a shell's completion script."""

import click
from click.shell_completion import get_completion_class

from lanner.cli.app import NO_SETTINGS, Options, front_command, lanner_command


@front_command(
    "completion",
    example='eval "$(lanner completion bash)"\nlanner completion fish > ~/.config/fish/completions/lanner.fish',
    formats=(),
    without=NO_SETTINGS,
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def command(options: Options, shell: str) -> None:  # noqa: ARG001  every command takes them
    """Print a script that lets SHELL complete commands and options of `lanner`.

    Evaluate it in the shell's start-up file, or store it where the shell looks for completions.
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  click has these three
    click.echo(found(lanner_command, {}, "lanner", "_LANNER_COMPLETE").source())
