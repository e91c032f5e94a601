"""The images of the tests: Lanner's, built as for Compose, and two that pods need; no registry is involved."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.debian_image import cache_directory, debian_tar
from tests.live.dockerd import Dockerd

PAUSE = "registry.k8s.io/pause:3.10"
NGINX = "docker.io/library/nginx:1.27"
VERSION = "0.1.0"
_OTHERS = {PAUSE: "lanner-tests/pause", NGINX: "lanner-tests/nginx"}
_LANNER = ("all-in-one", "collector", "processor", "notifier")
_BUILD = "deploy/images/local/build.sh"
_SECONDS = 1800
_PAUSE = """
#include <signal.h>
#include <unistd.h>
static void end(int number) { _exit(0); }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, SIG_IGN); for (;;) pause(); }
"""
_RECIPE = """
FROM scratch AS pause
COPY pause /pause
ENTRYPOINT ["/pause"]
FROM lanner-tests/base AS nginx
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx-light
CMD ["nginx", "-g", "daemon off;"]
"""


def images() -> list[Path]:
    """Build all images and return an archive of each, as `docker save` writes it."""
    with _building() as (daemon, folder):
        environment = os.environ | {"DOCKER": " ".join(daemon.client_command())}
        subprocess.run([_BUILD, *_LANNER], env=environment, check=True, timeout=_SECONDS, stdout=subprocess.DEVNULL)
        _build_others(daemon)
        own = {f"docker.io/library/lanner-{name}:{VERSION}": f"lanner-local/{name}" for name in (*_LANNER, "kafka")}
        return [_saved(daemon, folder, name, local) for name, local in (_OTHERS | own).items()]


def workload_images() -> list[Path]:
    """Build the images that pods need and return an archive of each."""
    with _building() as (daemon, folder):
        _build_others(daemon)
        return [_saved(daemon, folder, name, local) for name, local in _OTHERS.items()]


@contextmanager
def _building() -> Iterator[tuple[Dockerd, Path]]:
    """Run a daemon with cached layers, and return the folder of archives."""
    folder = cache_directory() / "kubernetes-images"
    folder.mkdir(parents=True, exist_ok=True)
    store = cache_directory() / "docker"
    with store.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Dockerd(store) as daemon:
            yield daemon, folder


def _build_others(daemon: Dockerd) -> None:
    with tempfile.TemporaryDirectory(prefix="lanner-images-") as place:
        source = Path(place, "pause.c")
        source.write_text(_PAUSE)
        subprocess.run(["gcc", "-static", "-O2", "-s", "-o", Path(place, "pause"), source], check=True)
        # Docker's cache compares the content and the time of files.
        os.utime(Path(place, "pause"), (0, 0))
        Path(place, "Dockerfile").write_text(_RECIPE)
        if daemon.client("image", "inspect", "lanner-tests/base", check=False).returncode:
            daemon.load(debian_tar(), "lanner-tests/base")
        proxies = [name for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY") if name in os.environ]
        arguments = [word for name in proxies for word in ("--build-arg", name)]
        for target in ("pause", "nginx"):
            daemon.client(
                *("build", "--network", "host", *arguments, "--target", target, "-t", f"lanner-tests/{target}", place),
                timeout=_SECONDS,
            )


def _saved(daemon: Dockerd, folder: Path, name: str, local: str) -> Path:
    """Write an image's archive, unless that of the same image is there already."""
    identifier = daemon.client("image", "inspect", "--format", "{{.Id}}", local).stdout.strip()
    short = name.rpartition("/")[2].replace(":", "-")
    archive = folder / f"{short}-{identifier.removeprefix('sha256:')[:12]}.tar"
    if not archive.exists():
        for old in folder.glob(f"{short}-*.tar"):
            old.unlink()
        daemon.client("tag", local, name)
        half = archive.with_suffix(".part")
        daemon.client("save", "-o", str(half), name, timeout=600)
        shutil.move(half, archive)
    return archive
