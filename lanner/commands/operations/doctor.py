"""`lanner doctor`: checks what this host supports."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rich.text import Text

from lanner.cli.app import Options, front_command
from lanner.cli.terminal.tables import print_table
from lanner.errors import ENVIRONMENT_LACKS, BadInput
from lanner.operations import doctor
from lanner.wiring.collector import INSTALLED_PROGRAMS, given_programs

MARKS: dict[doctor.State, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "missing": ("MISSING", "bold red"),
    "note": ("note", "yellow"),
}


@front_command("doctor", example="sudo lanner doctor")
def command(options: Options) -> Literal[0, 3]:
    """Check what this host supports and what the settings use, and how to fix what is missing.

    The settings name rule files, sinks, container runtimes and the broker. Nothing is sent. Exits with 3
    if live detection can't work.
    """
    found = list(_findings(options))
    able = all(finding.state != "missing" for finding in found)
    if options.format == "json":
        checks = [dataclasses.asdict(finding) for finding in found]
        print(json.dumps({"ok": able, "checks": checks}, indent=2))  # noqa: T201
    else:
        rows = [(finding.subject, Text(*MARKS[finding.state]), _detail(finding)) for finding in found]
        print_table(("SUBJECT", "STATE", "FOUND, AND REMEDY"), rows)
        print("This host can run `lanner run`." if able else "`lanner run` can't work on this host yet.")  # noqa: T201
    return 0 if able else ENVIRONMENT_LACKS


def _findings(options: Options) -> Iterator[doctor.DoctorCheck]:
    try:
        settings = options.settings()
    except BadInput as error:
        yield from doctor.findings((INSTALLED_PROGRAMS,))
        found = error.messages[0].splitlines()[0].rstrip(".")
        yield doctor.DoctorCheck("settings", "missing", found, "lanner config check shows every error.")
        return
    collector = settings.collector
    sockets = doctor.ContainerSockets(
        Path(collector.docker_socket), Path(collector.podman_socket), tuple(map(Path, collector.cri_sockets))
    )
    yield from doctor.findings(given_programs(settings), sockets)
    try:
        from lanner.operations.doctor_settings import settings_findings
    except ModuleNotFoundError as error:
        # A collector's installation need not have the libraries of the other stages.
        found = f"not checked: the {error.name} library is not installed"
        yield doctor.DoctorCheck("settings", "note", found, "Run this where the other stages are installed.")
        return
    yield from settings_findings(settings)


def _detail(finding: doctor.DoctorCheck) -> str:
    return f"{finding.found}. {finding.remedy}" if finding.remedy else finding.found
