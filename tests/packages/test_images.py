"""Container images of both architectures, built on one, by `make images`."""

import fcntl
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.debian_image import cache_directory
from tests.live.dockerd import Dockerd

pytestmark = pytest.mark.timeout(3600)

STAGES = ("collector", "processor")
"""One without a shell and one with it; Faust, of which arm64 has no wheel, is in the latter."""
MACHINES = {"amd64": 62, "arm64": 183}
"""Source: include/uapi/linux/elf-em.h."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as Docker knows it, and its files."""

    architecture: str
    root: Path

    @property
    def programs(self) -> dict[str, int]:
        """Return the machine of each program and library, by its path without what depends on the architecture."""
        paths = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        heads = {path: path.read_bytes()[:20] for path in paths}
        return {
            re.sub(
                "-[0-9a-f]{8}", "", re.sub("x86_64|x86-64|aarch64", "MACHINE", str(path.relative_to(self.root)))
            ): head[18]
            for path, head in heads.items()
            if head.startswith(b"\x7fELF")
        }

    @property
    def versions(self) -> set[str]:
        """Return the versions of Debian's and Python's packages."""
        status = (path.read_text() for path in self.root.glob("var/lib/dpkg/status.d/*"))
        found = {"".join(re.findall(r"(?m)^(?:Package|Version): .*$", text)) for text in status}
        return found | {path.name for path in self.root.glob("opt/lanner/lib/python3*/site-packages/*.dist-info")}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Image]:
    """Build the images by a daemon that caches layers, and unpack them."""
    store, found = cache_directory() / "docker", {}
    with store.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Dockerd(store) as daemon:
            for architecture in MACHINES:
                variables = {"ARCH": architecture, "DOCKER": " ".join(daemon.client_command())}
                command = ["deploy/images/local/build.sh", *STAGES]
                built = subprocess.run(
                    command, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True, timeout=3000
                )
                for stage, name in zip(STAGES, built.stdout.split(), strict=True):
                    root = tmp_path_factory.mktemp(f"{stage}-{architecture}")
                    container = daemon.client("create", name).stdout.strip()
                    daemon.client("export", "--output", f"{root}.tar", container, timeout=300)
                    daemon.client("rm", container)
                    subprocess.run(["tar", "-C", root, "-xf", f"{root}.tar"], check=True, timeout=120)
                    inspected = daemon.client("image", "inspect", "--format", "{{.Architecture}}", name)
                    found[stage, architecture] = Image(inspected.stdout.strip(), root)
    return found


@pytest.mark.parametrize("architecture", MACHINES)
@pytest.mark.parametrize("stage", STAGES)
def test_an_image_has_programs_of_its_architecture_alone(
    images: dict[tuple[str, str], Image], stage: str, architecture: str
) -> None:
    """Docker takes it for that architecture."""
    image = images[stage, architecture]

    assert image.architecture == architecture
    assert set(image.programs.values()) == {MACHINES[architecture]}


@pytest.mark.parametrize("stage", STAGES)
def test_images_of_both_architectures_have_the_same_packages(images: dict[tuple[str, str], Image], stage: str) -> None:
    """They have the same versions of all, and Python has the same modules, but for optional ones."""
    one, other = images[stage, "amd64"], images[stage, "arm64"]

    assert one.versions == other.versions
    different = one.programs.keys() ^ other.programs.keys()
    assert {name for name in different if "/python3" in name and "_cython" not in name} == set()
