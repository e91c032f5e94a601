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
    """Check what this host supports, and how to fix what is missing.

    Exits with 3 if live detection can't work.
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
    except BadInput:
        # `lanner config check` reports wrong settings; this command is about the host.
        return doctor.findings((INSTALLED_PROGRAMS,))
    collector = settings.collector
    sockets = doctor.ContainerSockets(
        Path(collector.docker_socket), Path(collector.podman_socket), tuple(map(Path, collector.cri_sockets))
    )
    return doctor.findings(given_programs(settings), sockets)


def _detail(finding: doctor.DoctorCheck) -> str:
    return f"{finding.found}. {finding.remedy}" if finding.remedy else finding.found
