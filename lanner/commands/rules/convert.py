"""`lanner rules convert`: takes rules of other tools, prints rule files."""

import sys
from pathlib import Path

import click

from foundation.text import printable
from lanner.cli.app import NO_SETTINGS, Group, Options, front_command
from lanner.cli.options import write_text
from lanner.cli.tables import CONVERT
from lanner.errors import BAD_INPUT, BadInput
from lanner.libraries import need
from lanner.terminal.output import note


@click.group("convert", cls=Group, lazy=CONVERT, example="lanner rules convert sigma rules/linux --output sigma.yaml")
def command() -> None:
    """Convert rules of other tools."""


@front_command(
    "sigma",
    example=(
        "lanner rules convert sigma my_sigma_rule.yml\n"
        "lanner rules convert sigma sigma/rules/linux --output sigma.yaml     (and sigma_test.yaml)"
    ),
    formats=(),
    without=NO_SETTINGS,
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the rules here, tests beside it."
)
@click.option("--exact-paths", is_flag=True, help="Compare paths exactly, which is faster.")
@click.option("--strict", is_flag=True, help="A rule that can't be converted counts as a failure.")
def convert_sigma(
    options: Options, paths: tuple[Path, ...], output: Path | None, *, exact_paths: bool, strict: bool
) -> int:
    """Convert the Sigma rules for Linux in files and folders.

    Takes rules on process_creation, file_event, network_connection and auditd, and correlations. Each rule that can't
    be converted has a line on standard error with its id and the reason. docs/sigma.md describes what maps. Needs
    pySigma.
    """
    need("sigma", "sigma")
    from lanner.sigma.cases import cases_of
    from lanner.sigma.convert import convert
    from lanner.sigma.rules import file_text
    from processor.loading import RuleFile, load_rules

    done = convert(paths, exact_paths=exact_paths)
    for each in done.rejected:
        note(printable(f"{each.file}: {each.rule}: {each.reason}"))
    if not done.rules:
        where = ", ".join(map(str, paths))
        raise BadInput(f"{where}: no rule can be converted." if done.rejected else f"{where}: no Sigma rule for Linux.")
    text = file_text(f"Made of {', '.join(map(str, paths))} by `lanner rules convert sigma`.", done.rules)
    if output is None:
        sys.stdout.write(text)
    else:
        tests = cases_of(load_rules([RuleFile(str(output), text)]))
        write_text(output, text)
        write_text(output.with_name(f"{output.stem}_test.yaml"), tests.text)
        for name in tests.unproven:
            note(printable(f"no test was found for: {name}"))
    if not options.quiet:
        others = f"; {done.others} for other products skipped" if done.others else ""
        count = len(done.rules)
        note(f"{count} rule{'' if count == 1 else 's'} converted, {len(done.rejected)} rejected{others}")
    return BAD_INPUT if strict and done.rejected else 0
