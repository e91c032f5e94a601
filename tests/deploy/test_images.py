"""The images of deploy/compose. It builds them beside other tests; those of the cluster then find them in the cache."""

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import EVENTS
from tests.deploy.test_tarball import environment
from tests.e2e.cluster import daemon_with_images, wait
from tests.live.debian_image import NoDebian
from tests.live.dockerd import Dockerd, NoDocker
from tests.live.needs import lacking

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

PRIVILEGES = (
    *("--read-only", "--cap-drop", "ALL", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--cap-add", "DAC_READ_SEARCH", "--security-opt", "no-new-privileges", "--security-opt", "apparmor=unconfined"),
    *("--pid", "host", "--volume", "/etc/machine-id:/etc/machine-id:ro", "--tmpfs", "/var/lib/lanner"),
)
"""All that docs/security.md names; nothing of the host that it can write to, and no folder for a cache."""
ASK = """
import importlib.util, lanner, pathlib, ssl
assert ssl.get_default_verify_paths().capath
assert pathlib.Path("/usr/share/lanner/rules").samefile(pathlib.Path(lanner.__file__).parents[1] / "rules")
assert not [name for name in ("bcc", "pip", "setuptools") if importlib.util.find_spec(name)]
assert %s or not [path for path in pathlib.Path("/usr").rglob("*") if path.name in ("sh", "bash", "dpkg", "apt")]
print(lanner.__file__)
"""
LIST = """
import importlib.metadata, pathlib, re
for each in importlib.metadata.distributions(path=["/opt/lanner/lib/python3.11/site-packages"]):
    print(f"{each.name.lower()}={each.version}")
for path in pathlib.Path("/var/lib/dpkg/status.d").iterdir():
    print("=".join(re.findall("(?m)^(?:Package|Version): (.*)$", path.read_text())))
"""
"""Prints the names and versions of all packages, by means that the SBOM isn't made by."""
SHELLS = ("processor", "notifier")
"""Images that have a shell."""


def watch(daemon: Dockerd, image: str, connection: Connection) -> None:
    """Check that the image reports an action on the host, with nothing of the host that it can write to."""
    variables = [word for each in environment(connection).items() for word in ("--env", "=".join(each))]
    run = ("run", "--detach", "--network", "host", *PRIVILEGES, *variables, image)
    container = daemon.client(*run).stdout.strip()

    def said() -> str:
        done = daemon.client("logs", container)
        return done.stdout + done.stderr

    try:
        wait(lambda: "watching" in said(), 60, said)
        marker = uuid.uuid4().hex
        subprocess.run(["/bin/true", marker], check=True)
        reader = TopicReader(connection, connection.topic(EVENTS), whole=True)
        wait(lambda: (got := reader.poll(0.2)) is not None and marker.encode() in (got.value() or b""), 30, said)
        reader.close()
        daemon.client("stop", container)
        assert not re.search("Traceback|cache|Read-only", said()), said()
    finally:
        daemon.client("rm", "--force", container)


@pytest.fixture(scope="module")
def built() -> Iterator[tuple[Dockerd, dict[str, str]]]:
    """Run a daemon that has the images."""
    try:
        with daemon_with_images() as built:
            yield built
    except (NoDocker, NoDebian) as missing:
        lacking(str(missing))


def test_each_image_runs_lanner_and_has_nothing_that_only_its_build_needed(
    built: tuple[Dockerd, dict[str, str]], connection: Connection
) -> None:
    """The package is that of the image, and the collector's runs on a read-only host by its privileges alone."""
    daemon, images = built
    for stage in ("collector", "processor", "notifier", "console"):
        run = ("run", "--rm", "--network", "none")
        image = images[f"LANNER_{stage.upper()}_IMAGE"]
        assert daemon.client(*run, image, "--version").stdout.startswith("lanner ")
        asked = daemon.client(*run, "--entrypoint", "/opt/lanner/bin/python", image, "-c", ASK % (stage in SHELLS))
        assert asked.stdout.startswith("/opt/lanner/lib/python3.11/site-packages/lanner/")
    watch(daemon, images["LANNER_COLLECTOR_IMAGE"], connection)


def test_the_sbom_of_an_image_has_all_packages_in_it(built: tuple[Dockerd, dict[str, str]], tmp_path: Path) -> None:
    """It is about the image that Docker has by that id, and the checksums cover it."""
    daemon, images = built
    image = images["LANNER_COLLECTOR_IMAGE"]
    environment = os.environ | {"DOCKER": " ".join(daemon.client_command())}
    command = ["deploy/packages/build.sh", "images", tmp_path, image]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=600)
    identity = daemon.client("image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
    run = ("run", "--rm", "--network", "none", "--entrypoint", "/opt/lanner/bin/python", image, "-c", LIST)
    listed = daemon.client(*run).stdout.split()

    [file] = tmp_path.glob("*.cdx.json")
    sbom = json.loads(file.read_text())
    about, parts = sbom["metadata"]["component"], sbom["components"]
    assert (about["type"], about["name"], about["version"]) == ("container", image, identity)
    assert sorted(f"{each['name'].lower()}={each['version']}" for each in parts) == sorted(listed)
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 0
