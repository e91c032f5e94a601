import os
import shutil
from pathlib import Path

import pytest

from collector.procfs.installed_packages import installed
from collector.procfs.packages import Packages
from tests.live.rpm_root import RpmRoot
from tests.unit.collector.procfs.test_program_files import look

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and (os.geteuid() != 0 or not shutil.which("rpmbuild")), reason="needs root, and rpm"
)
_QUERY = "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{SOURCERPM}\n"


def test_rpm_agrees_about_what_is_installed_whose_it_is_and_what_was_changed(tmp_path: Path) -> None:
    """After an upgrade, a removal and changes, of files whose names several packages have."""
    machine = RpmRoot(tmp_path)
    machine.install("one", "1.0", {"/usr/bin/x": b"old", "/usr/bin/gone": b"old", "/usr/bin/y": b"y"})
    machine.install("two", "2.0~rc1", {"/usr/libexec/x": b"two", "/usr/bin/z": b"z" * 70_000}, epoch=3)
    machine.install("three", "3", {"/usr/bin/w": b"w"})
    machine.install("one", "1.1", {"/usr/bin/x": b"new", "/usr/bin/y": b"y", "/usr/bin/touched": b"t"})
    machine.rpm("--erase", "three")
    root = machine.root
    (root / "usr/libexec/x").write_bytes(b"twO")
    (root / "usr/bin/z").write_bytes(b"short")
    (root / "usr/bin/touched").touch()
    (root / "usr/bin/made").write_bytes(b"new")
    by_rpm = machine.changed()
    assert sorted(path for path, is_changed in by_rpm.items() if is_changed) == ["/usr/bin/z", "/usr/libexec/x"]
    found = {path: look(root, path) for path in by_rpm}
    assert {path: each["origin"] == "modified" for path, each in found.items()} == by_rpm
    assert {each["origin"] for each in found.values()} == {"package", "modified"}
    assert {each["package_type"] for each in found.values()} == {"rpm"}
    for path, each in found.items():
        query = ("--query", "--file", path, "--queryformat", "%{NAME} %{EPOCHNUM}:%{VERSION}-%{RELEASE}")
        assert machine.rpm(*query) == f"{each['package']} {each['package_version']}"
    assert look(root, "/usr/bin/made")["origin"] == "dropped"
    location = os.open(root, os.O_PATH)
    try:
        listed = {
            f"{each.name} {each.version} {each.arch} {each.source}-{each.source_version}.src.rpm\n"
            for each in installed(location)
        }
        owners = Packages().owners(location, [*by_rpm, "/usr/bin/made"])
    finally:
        os.close(location)
    assert listed == set(machine.rpm("--query", "--all", "--queryformat", _QUERY).splitlines(keepends=True))
    assert owners == {path: ("rpm", each["package"]) for path, each in found.items()}
