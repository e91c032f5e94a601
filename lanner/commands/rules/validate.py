"""`lanner rules validate`: checks rule files."""

import sys
from dataclasses import replace

import click

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.output import coloured
from lanner.errors import BAD_INPUT
from lanner.ruleset.lint import never_sent
from lanner.ruleset.sources import find_rules
from processor.loading import LoadResult, load_rules
from processor.loading.problems import report
from processor.loading.problems.falco_compatibility import falco_problems


def _print(result: LoadResult, form: str) -> None:
    problems = (*result.errors, *result.warnings)
    if form == "json":
        click.echo(report.as_json(result))
    elif form == "github":
        click.echo(report.as_github(problems), nl=False)
    else:
        if problems:
            click.echo(report.as_text(problems, colour=coloured(sys.stdout)))
        click.echo(report.summary(result))


@front_command("validate", example="lanner rules validate my_rules.yaml", formats=("text", "json", "github"))
@click.argument("files", nargs=-1)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option("--falco", is_flag=True, help="Report what Falco ignores or doesn't know as errors.")
def command(options: Options, files: tuple[str, ...], *, strict: bool, falco: bool) -> int:
    """Check rule FILES, or the active ones; report all errors with their locations.

    Exits with 1 on errors, and with --strict on warnings. --format github prints annotations for GitHub Actions.
    --falco is for files shared with Falco, which ignores keys that it doesn't know, such as `correlation`.
    """
    settings = options.settings()
    found = find_rules(replace(settings, rules_files=files) if files else settings).files
    result = load_rules(found)
    result = result.with_warnings(never_sent(result.rules, result.macros))
    if falco:
        result = result.with_errors(falco_problems(found))
    _print(result, options.format or "text")
    return 0 if result.ok and not (strict and result.warnings) else BAD_INPUT
