"""`lanner rules lsp`: a language server for rule files."""

import click

from lanner.cli.app import Options, front_command
from lanner.installation.libraries import need
from lanner.ruleset.sources import find_rules
from processor.loading import RuleFile


@front_command("lsp", example="lanner rules lsp\nlanner rules lsp --alone -r falco_rules.yaml", formats=())
@click.option("--alone", is_flag=True, help="Check files without the built-in rules and /etc/lanner/rules.d.")
def command(options: Options, *, alone: bool) -> None:
    """Serve an editor over standard input and output, by the Language Server Protocol.

    Shows the problems that `lanner rules validate` reports, the documentation of fields, macros and lists, completes
    their names, and goes to their definitions. Files are checked on top of the active rules, or those of --rules.
    """
    need("lsp", "pygls")
    from lanner.ruleset.editor.server import RulesServer

    def below() -> tuple[RuleFile, ...]:
        settings = options.settings()
        return () if alone and not settings.rules_files else find_rules(settings).files

    RulesServer(below).server.start_io()
