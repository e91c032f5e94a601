"""`lanner inventory`: lists the packages that living processes have loaded."""

import os
import platform
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from collector.containers.lookup import KnownContainers
from collector.containers.runtimes import runtimes
from collector.processes.container_names import Naming
from foundation.text import count_of
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import progress, write_text
from lanner.errors import BadInput
from lanner.inventory.loaded import Root
from lanner.inventory.reading import Survey, Unread
from lanner.libraries import need
from lanner.terminal.output import note
from lanner.terminal.tables import print_table

_MAX_NAMES = 4
"""Processes and addresses in a row of the table."""


@front_command(
    "inventory",
    example="sudo lanner inventory --output host.cdx.json\nsudo lanner inventory --format table --container web",
    formats=("json", "table"),
    without=NO_RULES,
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the result here."
)
@click.option("--container", multiple=True, metavar="NAME", help="Only containers of this name or image; repeatable.")
def command(options: Options, *, output: Path | None, container: tuple[str, ...]) -> Literal[0]:
    """List the packages whose files living processes run or have mapped, as CycloneDX JSON.

    Packages are those of dpkg, rpm and apk on this host and in its containers. Those that a process has loaded which
    listens on the network come first. Files that are read and not mapped, such as scripts, are not seen.
    docs/inventory.md describes the result and what it is worth.
    """
    if options.format != "table":
        need("inventory", "cyclonedx", "packageurl")
    settings = options.settings()
    section = settings.collector
    survey = Survey(naming=Naming(section.container_parents))
    with progress(quiet=options.quiet) as shown:
        shown.show("reading processes")
        survey.read(shown.stop)
        lookups = runtimes(Path(section.docker_socket), Path(section.podman_socket), [*map(Path, section.cri_sockets)])
        with closing(KnownContainers(lookups)) as containers:
            roots = _chosen(survey.result(containers), container)
    if not options.quiet:
        _note_unread(survey.unread)
    if options.format == "table":
        print_table(("ROOT", "PACKAGE", "VERSION", "LISTENS", "LOADED BY"), [*_rows(roots)])
        return 0
    from lanner.inventory.bom import bom_text

    text = bom_text(roots, platform.node(), datetime.now(UTC))
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
    return 0


def _chosen(roots: Sequence[Root], names: tuple[str, ...]) -> list[Root]:
    """Return the roots of the named containers and images; all if none is named. Raises BadInput."""
    if not names:
        return [*roots]
    chosen = [root for root in roots if not root.is_host and not {root.name, *root.containers}.isdisjoint(names)]
    known = {name for root in chosen for name in (root.name, *root.containers)}
    if missing := [name for name in names if name not in known]:
        others = ", ".join(sorted({name for root in roots for name in root.containers})[:10]) or "none"
        raise BadInput(f"--container {missing[0]!r}: no such container has processes here. Those that have: {others}.")
    return chosen


def _rows(roots: Sequence[Root]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for root in roots:
        for use in root.uses:
            names = [f"{loader.name} ({loader.count})" if loader.count > 1 else loader.name for loader in use.loaders]
            loaders = ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")
            ports = dict.fromkeys(each for loader in use.loaders for each in loader.listening)
            listening = ", ".join([*ports][:_MAX_NAMES]) + (" ..." if len(ports) > _MAX_NAMES else "")
            version = f"{use.package.version}{' (replaced)' if use.is_replaced else ''}"
            rows.append((root.name, use.package.name, version, listening, loaders))
    return rows


def _note_unread(unread: Unread) -> None:
    """Report what is missing in the result."""
    if unread.hidden:
        why = "" if os.geteuid() == 0 else ": only root sees those of other users and of most containers, so use sudo"
        note(f"{count_of(unread.hidden, 'process', 'processes')} can't be read by this user{why}.", "warning")
    if unread.unresponsive:
        note(f"{count_of(unread.unresponsive, 'process', 'processes')} could not be read in time.", "warning")
    if unread.cut:
        note(f"{count_of(unread.cut, 'process', 'processes')} have more mappings than are read.", "warning")
    if unread.left_out:
        note(
            f"{count_of(unread.left_out, 'process, root directory or file', 'processes, root directories or files')} "
            "are beyond the limits, and left out.",
            "warning",
        )
    if unread.roots:
        note(
            f"{count_of(unread.roots, 'root directory', 'root directories')} have databases of packages that could not "
            "be read in time.",
            "warning",
        )
