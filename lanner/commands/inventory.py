"""`lanner inventory`: lists the packages that living processes have loaded."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from collector.containers.lookup import KnownContainers
from collector.containers.runtimes import runtimes
from collector.processes.container_names import Naming
from collector.procfs.installed_packages import InstalledPackage
from foundation.quantities import seconds_text
from foundation.text import count_of
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options import Progress, parse_duration_ms, progress, write_text
from lanner.errors import BadInput, or_bad_input
from lanner.inventory.loaded import Root
from lanner.inventory.reading import Survey, Unread
from lanner.libraries import need
from lanner.terminal.output import note
from lanner.terminal.tables import print_table

if TYPE_CHECKING:
    # Needs the extra, which a table doesn't.
    from lanner.inventory.vulnerabilities import LoadingAnalysis, PackageVulnerability, ScannedVulnerability

_INTERVAL = 5.0
"""Seconds between two passes."""
_MAX_NAMES = 4
"""Processes and addresses in a row of the table."""


@front_command(
    "inventory",
    example="sudo lanner inventory --output host.cdx.json\n"
    "sudo lanner inventory --format table --container web\n"
    "sudo lanner inventory --vulnerabilities grype.json --observe 10m --output vex.cdx.json",
    formats=("json", "table"),
    without=NO_RULES,
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the JSON to this file."
)
@click.option("--container", multiple=True, metavar="NAME", help="Only containers of this name or image; repeatable.")
@click.option(
    "--vulnerabilities",
    "scanned",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="State for each vulnerability in a scanner's CycloneDX, or in grype's JSON, whether its package is loaded.",
)
@click.option(
    "--observe",
    metavar="TIME",
    help="Read processes again and again for this time, and state not_affected for packages that none had loaded.",
)
def command(
    options: Options, *, output: Path | None, container: tuple[str, ...], scanned: Path | None, observe: str | None
) -> Literal[0]:
    """List the packages whose files living processes run or have mapped, as CycloneDX JSON.

    Packages are those of dpkg, rpm and apk on this host and in its containers. Those that a process has loaded which
    listens on the network come first. Files that are read and not mapped, such as scripts, are not seen.
    docs/inventory.md describes the result and what it is worth.
    """
    if options.format == "table" and output is not None:
        raise click.UsageError("--output goes with --format json.")
    if options.format != "table" or scanned is not None:
        need("inventory", "cyclonedx", "packageurl")
    if output is not None and not output.absolute().parent.is_dir():
        raise BadInput(f"{output}: can't be written: no such folder.")
    found = None if scanned is None else _read(scanned)
    seconds = 0 if observe is None else parse_duration_ms(observe, "--observe") / 1000
    section = options.settings().collector
    survey = Survey(naming=Naming(section.container_parents))
    lookups = runtimes(Path(section.docker_socket), Path(section.podman_socket), [*map(Path, section.cri_sockets)])
    with (
        closing(KnownContainers(lookups, on_failure=_note_failure)) as containers,
        progress(quiet=options.quiet) as shown,
    ):
        begin = datetime.now(UTC)
        survey.read(shown.stop)
        # A wrong name is an error now, not after the observation.
        roots = _chosen(survey.result(containers), container)
        if seconds:
            _observe(survey, seconds, shown)
            roots = _chosen(survey.result(containers), container)
        end = datetime.now(UTC)
    if not options.quiet:
        _note_unread(survey.unread)
    stated: list[tuple[PackageVulnerability, LoadingAnalysis]] = []
    if found is not None:
        stated, missed = _stated(found, roots, survey, begin, end)
        if missed and not options.quiet:
            note(
                f"{missed:,} of {len(found):,} vulnerabilities of packages are about packages or versions that are not "
                "installed where processes run."
            )
    if options.format == "table":
        if found is None:
            print_table(("ROOT", "PACKAGE", "VERSION", "LISTENS", "LOADED BY"), [*_rows(roots)])
        else:
            print_table(("VULNERABILITY", "STATE", "ROOT", "PACKAGE", "VERSION", "WHY"), _finding_rows(stated))
        return 0
    from lanner.inventory.bom import bom_text

    text = bom_text(roots, platform.node(), end, stated)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)
    return 0


def _observe(survey: Survey, seconds: float, shown: Progress) -> None:
    """Read processes again, for some time or until Ctrl-C."""
    until = time.monotonic() + seconds
    while not shown.stop() and (left := until - time.monotonic()) > 0:
        pause = time.monotonic() + min(_INTERVAL, left)
        while not shown.stop() and (left := pause - time.monotonic()) > 0:
            shown.show(f"reading processes, {seconds_text(max(0.0, until - time.monotonic()))} left")
            time.sleep(min(left, 0.1))
        survey.read(shown.stop)


def _read(file: Path) -> "list[ScannedVulnerability]":
    from lanner.inventory.vulnerabilities import MAX_BYTES, read_vulnerabilities

    with or_bad_input(file), file.open("rb") as opened:
        text = opened.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise BadInput(f"{file}: is larger than {MAX_BYTES >> 20} MiB.")
    return read_vulnerabilities(text, str(file))


def _stated(
    found: "Sequence[ScannedVulnerability]", roots: Sequence[Root], survey: Survey, begin: datetime, end: datetime
) -> "tuple[list[tuple[PackageVulnerability, LoadingAnalysis]], int]":
    """Return what can be stated of each vulnerability, and how many are about packages that are not installed."""
    from lanner.inventory.vulnerabilities import Observation, analysis, findings

    every, missed = findings(found, roots)
    only_mapped: set[tuple[str, str, InstalledPackage]] = set()
    if survey.passes == 1:
        doubt = "That is a moment only: --observe states more."
    elif not survey.unread.is_nothing:
        doubt = "Not all processes could be read."
    else:
        doubt = "It has scripts or other code that runs without being mapped, or no code."
        for root in roots:
            asked = {one.use.package for one in every if one.root is root and not one.use.is_loaded}
            if asked:
                only_mapped |= {(root.name, root.version, each) for each in survey.only_mapped(root, [*asked])}
    observation = Observation(begin, end, survey.passes, doubt, frozenset(only_mapped))
    return [(one, analysis(one, observation)) for one in every], missed


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


def _finding_rows(stated: "Sequence[tuple[PackageVulnerability, LoadingAnalysis]]") -> list[tuple[str, ...]]:
    states = {True: "not_affected", False: "in_triage"}
    return [
        (
            one.vulnerability.id,
            states[each.is_not_reachable],
            one.root.name,
            one.use.package.name,
            one.use.package.version,
            each.detail,
        )
        for one, each in stated
    ]


def _note_failure(reason: str) -> None:
    note(f"a container's runtime could not be queried, so its image is unknown: {reason}", "warning")


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
