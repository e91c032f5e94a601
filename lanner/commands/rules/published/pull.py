"""`lanner rules pull`: writes a fleet's published rules to files."""

import os
from pathlib import Path

import click

from lanner.cli.app import NO_RULES, Options, front_command
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.wiring.kafka import reachable_connection
from schemas.text.counts import count_of


@front_command(
    "pull", example="lanner rules pull /tmp/running && lanner rules validate /tmp/running", formats=(), without=NO_RULES
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def command(options: Options, folder: Path, *, force: bool) -> None:
    """Write the rule files of the published version into DIR, created if needed.

    If their order is not alphabetical, their names get numbers in front, so that publishing DIR gives the same rules.
    """
    need("processor", "confluent_kafka", "cryptography")
    from bus.messages.published_rules import accept, current
    from lanner.ruleset.published.version import public_keys
    from schemas.records.published_rules import BadRules

    settings = options.settings()
    message = current(reachable_connection(settings))
    if message is None:
        raise BadInput("no version is published; use `lanner rules publish PATH…`.")
    try:
        rules = accept(message, public_keys(settings)).rules
    except BadRules as error:
        raise BadInput(f"the published version can't be used: {error}.") from None
    names = [file.name for file in rules.files]
    if names != sorted(names):
        width = len(str(len(names)))
        names = [f"{position:0{width}}-{name}" for position, name in enumerate(names)]
    targets = [folder / name for name in names]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [str(target) for target in targets if os.path.lexists(target)]
        if there and not force:
            raise BadInput(*(f"{name}: already exists; --force overwrites it." for name in there))
        for target, file in zip(targets, rules.files, strict=True):
            _write(target, file.text)
    except OSError as error:
        raise BadInput(f"{error.filename or folder}: {error.strerror}.") from None
    click.echo(f"version {rules.version}: {count_of(len(targets), 'file')} in {folder}")


def _write(target: Path, text: bytes) -> None:
    # Write beside it and rename, so that a symbolic link at the target is replaced, never followed.
    new = target.with_name(f".{target.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
        file.write(text)
    new.replace(target)
