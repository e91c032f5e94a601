"""`lanner doctor`: what this host can and can't do."""

import dataclasses
import json
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
    """Say what this host can and can't do, and how to fix it.

    Ends with 3 if live detection lacks something.
    """
    found = list(doctor.findings(_given(options)))
    able = all(finding.state != "missing" for finding in found)
    if options.format == "json":
        checks = [dataclasses.asdict(finding) for finding in found]
        print(json.dumps({"ok": able, "checks": checks}, indent=2))  # noqa: T201
    else:
        rows = [(finding.subject, Text(*MARKS[finding.state]), _told(finding)) for finding in found]
        print_table(("SUBJECT", "STATE", "FOUND, AND WHAT TO DO"), rows)
        print("This host can run `lanner run`." if able else "`lanner run` can't work here yet.")  # noqa: T201
    return 0 if able else ENVIRONMENT_LACKS


def _given(options: Options) -> tuple[Path, ...]:
    try:
        return given_programs(options.settings())
    except BadInput:
        # `lanner config check` tells of wrong settings; what the host can do is another question.
        return (INSTALLED_PROGRAMS,)


def _told(finding: doctor.DoctorCheck) -> str:
    return f"{finding.found}. {finding.remedy}" if finding.remedy else finding.found
