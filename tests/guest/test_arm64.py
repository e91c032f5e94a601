"""The collector on arm64, whose system calls have other numbers and registers, under Debian's kernel."""

import json
import re

import pytest

from collector.kernel import arm64

pytestmark = pytest.mark.timeout(3600)

Fields = dict[str, object]
LACKING = {"Change mailbox", "Manage accounts", "Shell spawned by text tool"}
"""Rules whose actions need overlayfs, a module, or what only the installation of packages makes (/var/mail, awk)."""


@pytest.fixture(scope="module")
def parts(console: str) -> dict[str, str]:
    """Return the sections of what the guest wrote."""
    sections = (part.partition("\n") for part in console.replace("\r", "").split("--- ")[1:])
    return {name: text for name, _, text in sections}


@pytest.fixture(scope="module")
def called(parts: dict[str, str]) -> list[Fields]:
    """Return the fields of each call's alert."""
    alerts = [json.loads(line) for line in parts["alerts"].splitlines() if line.startswith("{")]
    return [alert["output_fields"] for alert in alerts if alert["rule"] == "Called"]


def test_doctor_finds_everything(parts: dict[str, str]) -> None:
    """Architecture, type information and the program, which was compiled on another architecture."""
    assert "Linux aarch64" in parts["doctor"]
    assert "This host can run Lanner." in parts["doctor"]


def test_each_call_is_reported_by_its_name(called: list[Fields]) -> None:
    """The self-test has passed, and every number of the table is the kernel's."""
    assert set(arm64.NATIVE.values()) <= {fields["evt.type"] for fields in called}


def test_paths_and_flags_are_read_from_the_right_registers(called: list[Fields]) -> None:
    """The first argument, which the result replaces, is a directory or a descriptor in most calls."""
    members = ("evt.type", "evt.arg.flags", "fs.path.name", "fs.path.source", "fs.path.target")
    found = {tuple(fields.get(name) for name in members) for fields in called if fields["evt.res"] == "SUCCESS"}

    assert {each for each in found if "'/tmp" in str(each)} == {
        ("mkdirat", None, "/tmp/made", None, None),
        ("openat", "O_DIRECTORY|O_RDONLY|O_CLOEXEC|O_TMPFILE", "/tmp/made", None, None),
        ("openat", "O_DIRECTORY|O_RDWR|O_CLOEXEC|O_TMPFILE", "/tmp", None, None),
        ("renameat", None, None, "/tmp/made", "/tmp/renamed"),
        ("unlinkat", "AT_REMOVEDIR", "/tmp/renamed", None, None),
    }
    assert any(
        str(fields["fd.name"]).endswith("->127.0.0.1:8470") for fields in called if fields["evt.type"] == "connect"
    )


def test_calls_of_32_bit_programs_are_reported(called: list[Fields]) -> None:
    """Such a program has numbers of its own."""
    opened = [fields for fields in called if fields["proc.name"] == "busybox32" and fields["fd.name"] == "/etc/shadow"]

    assert [(each["evt.type"], each["evt.arg.flags"]) for each in opened] == [("openat", "O_LARGEFILE|O_RDONLY")]


def test_the_demo_s_actions_are_detected(parts: dict[str, str]) -> None:
    """Those that need what the guest lacks are left out."""
    rows = re.sub(r"\x1b\[\d+m", "", parts["demo"]).splitlines()
    missed = {row[:50].strip() for row in rows if "no alert" in row}

    assert missed <= LACKING
    assert sum("\u2713" in row for row in rows) > 100
