"""The tarball on a Debian without Python, on this kernel."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import EVENTS
from tests.deploy.bare_root import BareRoot
from tests.deploy.waiting import wait
from tests.live.debian_image import NoDebian, debian_tar
from tests.live.needs import lacking

# A new machine sets up a Debian and builds the tarball first.
pytestmark = pytest.mark.timeout(900)

LANNER = "/opt/lanner/bin/lanner"
OBJECTS = "opt/lanner/lib/_internal/collector/bpf/objects"


def build(folder: Path) -> str:
    """Build the tarball from the tests' environment, which has everything that it needs."""
    built = subprocess.run(
        ["deploy/packages/build.sh", "tarball", folder],
        env={**os.environ, "LANNER_TARBALL_ENVIRONMENT": sys.prefix},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return built.stdout.strip()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> BareRoot:
    """Return a Debian without Python, with the tarball unpacked: $LANNER_TARBALL, or one built now."""
    if os.geteuid() != 0 or shutil.which("objdump") is None:
        lacking("needs root, and binutils")
    try:
        debian = debian_tar()
    except NoDebian as missing:
        lacking(str(missing))
    tarball = os.environ.get("LANNER_TARBALL") or build(tmp_path_factory.mktemp("tarball"))
    root = BareRoot(tmp_path_factory.mktemp("bare"), debian)
    root.unpack(Path(tarball))
    return root


def environment(connection: Connection) -> dict[str, str]:
    """Return the variables that name the broker."""
    return {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
        "LANNER__KAFKA__PREFIX": connection.prefix,
        "LANNER__HTTP__LISTEN": "off",
    }


def test_what_happens_on_a_host_without_python_arrives(bare: BareRoot, connection: Connection, tmp_path: Path) -> None:
    """It has no folder for a cache, and the self-test passes before it reports that it watches."""
    doctor = bare.run(LANNER, "doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert f"/{OBJECTS}/bpf-" in "".join(doctor.stdout.split())

    said = tmp_path / "said"
    with said.open("wb") as errors:
        collector = subprocess.Popen(
            bare.command(LANNER, "collector"),
            stderr=errors,
            env={"PATH": os.environ["PATH"], **environment(connection)},
        )
    try:
        wait(lambda: "watching" in said.read_text() or collector.poll() is not None, 40)
        assert collector.poll() is None, said.read_text()
        marker = uuid.uuid4().hex
        subprocess.run(["/bin/true", marker], check=True)
        reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
        wait(lambda: (got := reader.poll(0.2)) is not None and marker.encode() in (got.value() or b""), 20)
        reader.close()
        collector.terminate()
        assert collector.wait(30) == 0, said.read_text()
    finally:
        collector.kill()
        collector.wait()
    assert not re.search("Traceback|cache|Read-only|PYI-", said.read_text())


@pytest.fixture
def program(bare: BareRoot) -> Iterator[Path]:
    """Return the tarball's compiled program; it is put back afterwards."""
    [path] = (bare.folder / OBJECTS).glob("bpf-*.json")
    content = path.read_bytes()
    yield path
    path.write_bytes(content)


def test_without_a_compiled_program_the_command_that_makes_one_is_named(
    bare: BareRoot, program: Path, connection: Connection
) -> None:
    """Without compiler and program, the environment is at fault, and doctor reports the same."""
    program.unlink()
    ended = bare.run(LANNER, "collector", environment=environment(connection))
    doctor = bare.run(LANNER, "doctor")

    assert (ended.returncode, doctor.returncode) == (3, 3), ended.stderr
    assert "make objects" in ended.stderr
    assert "make objects" in " ".join(doctor.stdout.split())
    assert "Traceback" not in ended.stderr + doctor.stderr


def test_a_program_of_another_version_is_distinguished(bare: BareRoot, program: Path, connection: Connection) -> None:
    """The error names the file and why it doesn't fit."""
    made = json.loads(program.read_text())
    made["made_for"]["program"] = "another"
    program.write_text(json.dumps(made))

    ended = bare.run(LANNER, "collector", environment=environment(connection))

    assert ended.returncode == 3
    assert f"{program.name}: compiled by another version of Lanner" in ended.stderr


def test_the_licenses_and_the_needed_glibc_are_in_it(bare: BareRoot) -> None:
    """Anyone who redistributes it needs them."""
    home = bare.folder / "opt/lanner"
    licenses = {path.name for path in (home / "licenses").iterdir()}

    assert {"confluent-kafka", "pyinstaller", "debian-libpython3.11.txt", "debian-libssl3.txt"} <= licenses
    assert "Apache License" in (home / "LICENSE").read_text()
    assert "@GLIBC@" not in (home / "README.md").read_text()
