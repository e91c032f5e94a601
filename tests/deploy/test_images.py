"""The images of deploy/compose. It builds them beside other tests; those of the cluster then find them in the cache."""

import re
import subprocess
import uuid

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


def test_each_image_runs_lanner_and_has_nothing_that_only_its_build_needed(connection: Connection) -> None:
    """The package is that of the image, and the collector's runs on a read-only host by its privileges alone."""
    try:
        with daemon_with_images() as (daemon, images):
            for stage in ("collector", "processor", "notifier", "console"):
                run = ("run", "--rm", "--network", "none")
                image = images[f"LANNER_{stage.upper()}_IMAGE"]
                assert daemon.client(*run, image, "--version").stdout.startswith("lanner ")
                asked = daemon.client(
                    *run, "--entrypoint", "/opt/lanner/bin/python", image, "-c", ASK % (stage in SHELLS)
                )
                assert asked.stdout.startswith("/opt/lanner/lib/python3.11/site-packages/lanner/")
            watch(daemon, images["LANNER_COLLECTOR_IMAGE"], connection)
    except (NoDocker, NoDebian) as missing:
        lacking(str(missing))
