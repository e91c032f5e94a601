"""The command line's frame: which commands there are, the flags that all share, and what Falco's own flags are here.

A command's module is imported when it is called, so that `--help` and completion are quick and `doctor` works where
BCC doesn't.
"""

import functools
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

import lanner
from lanner.settings import Settings, find_file, load_settings

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
    "-A": "nothing: the rules decide which system calls are watched",
    "-U": "nothing: lines are never held back",
    "--unbuffered": "nothing: lines are never held back",
    "--support": "lanner doctor",
    "--config-schema": "lanner config default",
}
"""Flags of Falco's that mean something else here, or nothing, and what does the same."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags that every command takes, given before or after the command's name."""

    config: str | None = None
    rules: tuple[str, ...] = ()
    set: tuple[str, ...] = ()
    quiet: bool = False
    verbose: bool = False
    format: str | None = None

    def settings(self, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings with these flags on top. Raises BadInput."""
        path = find_file(self.config, environment)
        settings = load_settings(path, environment, self.set)
        changes: dict[str, Any] = {}
        if self.rules:
            changes["rules_files"] = self.rules
        if self.format:
            changes["json_output"] = self.format == "json"
        if self.quiet or self.verbose:
            changes["log_level"] = "error" if self.quiet else "debug"
        return replace(settings, **changes)


def _explain(error: click.NoSuchOption) -> click.UsageError:
    ours = FALCO_FLAGS.get(error.option_name)
    if ours is None:
        return error
    return click.UsageError(
        f"No such option: {error.option_name}. Falco's {error.option_name} is here: {ours}", error.ctx
    )


class WithExample(click.Command):
    """What all commands show below their flags: how one is called."""

    example: str = ""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples as they are, a line each."""
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Command(WithExample):
    """A command that knows what people from Falco type."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and point out what a flag of Falco's is called here."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _explain(error) from None


class Group(WithExample, click.Group):
    """A group whose commands are imported when they are called."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example
        self.lazy = lazy
        """Name to (module, one line of help)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Give the names in the order of the table: what one tries first stands first."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in self.lazy:
            return None
        command = importlib.import_module(self.lazy[cmd_name][0]).command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.lazy.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and point out what a flag of Falco's is called here."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _explain(error) from None


SHARED: tuple[Callable[[Callable[..., Any]], Callable[..., Any]], ...] = (
    click.option("-c", "--config", metavar="FILE", help="Settings file."),
    click.option(
        "-r", "--rules", multiple=True, metavar="PATH", help="Rules to use instead of those that ship; repeatable."
    ),
    click.option("-o", "set_", multiple=True, metavar="KEY=VALUE", help="Override one setting; repeatable."),
    click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong."),
    click.option("-v", "--verbose", is_flag=True, help="Say more."),
)


def _format_option(formats: Sequence[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option("--format", "format_", type=click.Choice(formats), help="How results are printed.")


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


def shared_options(function: Callable[..., Any], formats: Sequence[str] = ("text", "json")) -> Callable[..., Any]:
    """Give a command the shared flags, handed to it as one `Options` in front of its own arguments."""

    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, **kwargs: Any) -> Any:
        shared = {name: kwargs.pop(name) for name in ("config", "rules", "set_", "quiet", "verbose", "format_")}
        above = ctx.obj if isinstance(ctx.obj, Options) else Options()
        return function(_merged(above, **shared), **kwargs)

    for option in (_format_option(formats), *reversed(SHARED)):
        wrapped = option(wrapped)
    return wrapped


def front_command(
    name: str, *, example: str, formats: Sequence[str] = ("text", "json")
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function whose docstring is the help; there is none without an example."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        made = click.command(name, cls=Command)(shared_options(function, formats))
        made.example = example
        return made

    return decorate


def _group(module: str, commands: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    package = f"lanner.commands.{module}" if module else "lanner.commands"
    return {name: (f"{package}.{name}", text) for name, text in commands.items()}


RULES = _group(
    "rules",
    {
        "validate": "Check rule files; every error with its place.",
        "list": "List the rules, with priority, tags and file.",
        "show": "Show one rule as it is in force.",
        "explain": "Show why a rule did or didn't match an event.",
        "pushdown": "Show what rules make the kernel send, and which costs most.",
        "test": "Run the tests beside rules.",
    },
) | _group(
    "rules.published",
    {
        "publish": "Make rule files what a whole fleet runs.",
        "pull": "Write what a fleet runs to files.",
        "status": "Show who runs which version.",
    },
)
TOPICS = _group(
    "topics",
    {"create": "Create what is missing, check what is there.", "acls": "Allow each part what it needs, no more."},
)
HOSTS = _group(
    "hosts",
    {
        "list": "List the keys of hosts: enrolled, pinned, revoked, announced.",
        "enroll": "Accept a host's key.",
        "revoke": "Accept nothing from a host any more.",
        "forget": "Forget a host: it counts as one that never came.",
    },
)
DLQ = _group(
    "dlq",
    {
        "list": "List what could not be delivered or read.",
        "show": "Show one letter whole.",
        "replay": "Put letters back to where they failed.",
        "drop": "Settle letters without sending them.",
    },
)
ALERTS = _group("alerts", {"tail": "Print alerts as they come.", "list": "Print alerts that were kept."})
EVENTS = _group("events", {"tail": "Print what the collector sees, one line an event."})
CONFIG = _group(
    "config",
    {
        "default": "Print all settings with their defaults.",
        "check": "Check the settings file.",
        "show": "Print the settings in force.",
    },
) | {"import": ("lanner.commands.config.import_settings", "Make settings of falcosidekick's or Falco's.")}
COLLECTOR = {
    "build-cache": ("lanner.commands.collector.build_cache", "Compile the eBPF program for hosts that can't."),
    "key": ("lanner.commands.collector.key", "Print this host's id and public key, to enroll it."),
}
COMMANDS = {
    **_group("", {
        "run": "Watch this host: all stages in this process, alerts on standard output.",
        "demo": "Carry out harmless acts and see each rule find its own.",
        "doctor": "Say what this host can and can't do, and how to fix it.",
    }),
    "rules": ("lanner.commands.rules", "Check, list and show rules."),
    **_group("recorder", {
        "replay": "Run recorded events through the rules.",
        "record": "Write what the collector sees to a file.",
    }),
    "events": ("lanner.commands.events", "Look at events."),
    **_group("", {
        "collector": "Send this host's events to Kafka.",
        "processor": "Judge a fleet's events.",
        "notifier": "Deliver a fleet's alerts to Slack, syslog and SIEM topics.",
    }),
    "alerts": ("lanner.commands.alerts", "Look at a fleet's alerts."),
    **_group("recorder", {"context": "Show what happened on a host around an alert."}),
    **_group("", {
        "hosts": "Show a fleet's hosts, silent ones first; decide whose key is whose.",
    }),
    "dlq": ("lanner.commands.dlq", "Look at dead letters, replay or drop them."),
    "topics": ("lanner.commands.topics", "Create what a fleet needs of its broker."),
    **_group("", {"fields": "List the fields that rules can use."}),
    "config": ("lanner.commands.config", "Print and check settings."),
}  # fmt: skip


@click.pass_context
def _front(ctx: click.Context, /, **shared: Any) -> None:
    """Runtime threat detection for Linux hosts, by rules in Falco's language."""
    ctx.obj = _merged(Options(), **shared)


for _option in (_format_option(("text", "json")), *reversed(SHARED)):
    _front = _option(_front)
lanner_command: click.Group = click.group(
    "lanner",
    cls=Group,
    lazy=COMMANDS,
    example="sudo lanner run\nsudo cat /etc/shadow     (in another terminal: an alert)",
    context_settings={"help_option_names": ["-h", "--help"]},
)(click.version_option(lanner.__version__, message="lanner %(version)s")(_front))
