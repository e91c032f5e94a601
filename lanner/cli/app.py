"""The command line: its commands, the flags that all of them share, hints for Falco's flags, and exit codes.

A command's module is imported when the command is called, so that `--help` and completion are fast and `doctor` works
without BCC. Every error ends as an exit code and a message, never as a traceback.
"""

import functools
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import click
from click.shell_completion import get_completion_class

import lanner
from bus.connection import BusUnavailable
from foundation.errors import EnvironmentUnsupported, TooBusy
from lanner.cli.tables import COMMANDS, ELSEWHERE, TASKS
from lanner.errors import BAD_INPUT, ENVIRONMENT_LACKS, TOO_BUSY, BadInput
from lanner.settings import LoadedSettings, Settings, find_file
from lanner.settings.load import read_settings
from lanner.settings.sections.sinks import PrintedFormat
from lanner.terminal.output import error_line

FALCO_FLAGS = {
    "-L": "lanner rules list",
    "-l": "lanner rules show RULE",
    "--list": "lanner fields",
    "--list-events": "lanner fields --format json",
    "-V": "lanner rules validate FILE",
    "--validate": "lanner rules validate FILE",
    "-e": "lanner replay FILE",
    "-D": "-o 'rules[].disable.rule=NAME'",
    "-T": "-o 'rules[].disable.tag=TAG'",
    "-t": "-o 'rules[].enable.tag=TAG'",
    "-A": "not needed: the rules decide which system calls are watched",
    "-U": "not needed: output is never buffered",
    "--unbuffered": "not needed: output is never buffered",
    "--support": "lanner doctor",
    "--config-schema": "lanner config schema",
    "--rule-schema": "lanner rules schema",
}
"""Falco's flags that Lanner doesn't have, and what to use instead."""


ALERT_FORMATS: tuple[PrintedFormat, ...] = ("text", "line", "json")
"""The formats of commands that print alerts: for people, as Falco's line, or as JSON."""


@dataclass(frozen=True, slots=True)
class Options:
    """The shared flags; every command accepts them before or after its name."""

    config: str | None = None
    rules: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    quiet: bool = False
    verbose: bool = False
    format: str | None = None

    def settings(self, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings and apply these flags. Raises BadInput."""
        return self.load(environment).valid()

    def load(self, environment: Mapping[str, str] = os.environ) -> LoadedSettings:
        """Read the settings and apply these flags; errors in single settings are in the result. Raises BadInput."""
        path = find_file(self.config, environment)
        loaded = read_settings(path, environment, self.set, self.rules)
        changes: dict[str, Any] = {}
        if self.format:
            changes["json_output"] = self.format == "json"
            printed = next((form for form in ALERT_FORMATS if form == self.format), None)
            changes["stdout_output"] = replace(loaded.settings.stdout_output, format=printed)
        if self.quiet or self.verbose:
            changes["log_level"] = "error" if self.quiet else "debug"
        return replace(loaded, settings=replace(loaded.settings, **changes))


def _explain(error: click.NoSuchOption) -> click.UsageError:
    ours = FALCO_FLAGS.get(error.option_name)
    name = next((name for name, flags in _FLAGS.items() if error.option_name in flags), "")
    if ours is None and name:
        return click.UsageError(f"No such option: {error.option_name}. This command uses no {name}.", error.ctx)
    if ours is None:
        return error
    return click.UsageError(
        f"No such option: {error.option_name}. Instead of Falco's {error.option_name}: {ours}", error.ctx
    )


_FLAGS = {"rules": ("-r", "--rules"), "settings": ("-c", "--config", "-o")}
"""The common flags that a command without rules or settings lacks."""


class Command(click.Command):
    """A command that knows Falco's flags, and whose help lists its own options first and ends with examples."""

    example: str = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; for a flag of Falco's, the error names the equivalent."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _explain(error) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what is special to this command first."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                (common if parameter.name in (*_DEFAULTS, "help", "version") else own).append(record)
        for title, records in (("Options", own), ("Common options", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples unwrapped, one per line."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A group that imports a command when it is called."""

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, tuple[str, str]],
        example: str,
        tasks: Mapping[str, Sequence[str]] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.lazy = lazy
        """Command name to (module, one line of help)."""
        self.tasks = tasks or {"Commands": tuple(lazy)}
        """The commands by what people want to do, for the help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands before the options, which most people don't need."""
        self.format_commands(ctx, formatter)
        Command.format_options(self, ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table, which starts with what new users need."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command and return it."""
        if cmd_name not in self.lazy:
            return None
        module = vars(importlib.import_module(f"lanner.{self.lazy[cmd_name][0]}"))
        return next(each for each in module.values() if isinstance(each, click.Command) and each.name == cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; the error about an unknown one has the nearest name."""
        if args and not args[0].startswith("-") and args[0] not in self.lazy:
            # Imported here, because hints are for errors alone.
            from difflib import get_close_matches  # noqa: PLC0415

            nearest = get_close_matches(args[0], [*self.lazy, *ELSEWHERE], n=1)
            meant = [f"{ctx.command_path} {name}" if name in self.lazy else ELSEWHERE[name] for name in nearest]
            hint = f" Did you mean '{meant[0]}'?" if meant else ""
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table without importing them."""
        width = max(map(len, self.lazy))
        for task, names in self.tasks.items():
            with formatter.section(task):
                formatter.write_dl([(f"{name:{width}}", self.lazy[name][1]) for name in names])


SHARED: Mapping[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = MappingProxyType({
    "config": click.option("-c", "--config", metavar="FILE", help="Settings file."),
    "rules": click.option(
        "-r",
        "--rules",
        multiple=True,
        metavar="PATH",
        help="Rules (*.yaml, *.py) to use instead of the built-in ones; repeatable.",
    ),
    "set_": click.option("-o", "set_", multiple=True, metavar="KEY=VALUE", help="Override one setting; repeatable."),
    "quiet": click.option("-q", "--quiet", is_flag=True, help="Print only errors."),
    "verbose": click.option("-v", "--verbose", is_flag=True, help="Print more detail."),
})  # fmt: skip
"""The options that commands share, by their parameter's name."""


_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {"config": None, "rules": (), "set_": (), "quiet": False, "verbose": False, "format_": None}
)
"""The common options by their parameter's name, with their values where a command doesn't offer them."""
NO_RULES = ("rules",)
"""The options that a command without rules leaves out."""
NO_SETTINGS = ("config", "rules", "set_")
"""The options that a command without settings leaves out."""


def _format_option(formats: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--format", "format_", type=click.Choice(formats), help="Output format.")


def _merged(above: Options, config: str | None, rules: tuple[str, ...], set_: tuple[str, ...], **rest: Any) -> Options:
    for item in set_:
        if "=" not in item:
            raise click.BadParameter(f"{item!r} must be key=value, such as file_output.enabled=true.", param_hint="-o")
    return Options(
        config=config or above.config,
        rules=above.rules + rules,
        set=above.set + set_,
        quiet=rest["quiet"] or above.quiet,
        verbose=rest["verbose"] or above.verbose,
        format=rest["format_"] or above.format,
    )


def shared_options(
    function: Callable[..., Any], formats: Sequence[str] = ("text", "json"), without: Sequence[str] = ()
) -> Callable[..., Any]:
    """Add the shared flags to a command; they are passed as one `Options`, before its own arguments.

    formats: empty if the command has one output only. without: parameters of flags that mean nothing to the command.
    """

    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, **kwargs: Any) -> Any:
        shared = {name: kwargs.pop(name, default) for name, default in _DEFAULTS.items()}
        above = ctx.obj if isinstance(ctx.obj, Options) else Options()
        return function(_merged(above, **shared), **kwargs)

    offered = [option for name, option in SHARED.items() if name not in without]
    for option in (*([_format_option(formats)] if formats else []), *reversed(offered)):
        wrapped = option(wrapped)
    return wrapped


def front_command(
    name: str, *, example: str, formats: Sequence[str] = ("text", "json"), without: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command from a function; its docstring is the help. An example is required."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, cls=Command)(shared_options(function, formats, without))
        made.example = example
        return made

    return decorate


@click.pass_context
def _front(ctx: click.Context, /, **shared: Any) -> None:
    """Runtime threat detection for Linux hosts, by rules in Falco's language."""
    ctx.obj = _merged(Options(), **shared)


for _option in (_format_option(ALERT_FORMATS), *reversed(list(SHARED.values()))):
    _front = _option(_front)
lanner_command: click.Group = click.group(
    "lanner",
    cls=Group,
    lazy=COMMANDS,
    tasks=TASKS,
    example="sudo lanner run\nsudo cat /etc/shadow     (in another terminal: an alert)",
    context_settings={"help_option_names": ["-h", "--help"]},
)(click.version_option(lanner.__version__, message="lanner %(version)s")(_front))


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
