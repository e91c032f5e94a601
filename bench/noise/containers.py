"""Work with containers on a Docker daemon of its own: builds, services with probes, jobs, copies."""

import itertools
import threading
from pathlib import Path

from tests.live.containers import Docker

DOCKERFILE = """
FROM {image}
RUN useradd --system --create-home worker && install -d -o worker /srv/app
COPY app.sh /srv/app/app.sh
RUN chmod 755 /srv/app/app.sh && /srv/app/app.sh > /srv/app/built
USER worker
HEALTHCHECK --interval=10s CMD test -f /srv/app/built
CMD ["sleep", "3600"]
"""
_PAUSE_SECONDS = 10
_REDEPLOYED_EVERY = 24


def work_with_containers(docker: Docker, folder: Path, stopping: threading.Event) -> None:
    """Redeploy a service again and again, probe it in between, and run jobs."""
    image = docker.debian()
    context = folder / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE.format(image=image))
    for release in itertools.count(1):
        (context / "app.sh").write_text(f"#!/bin/sh\necho release {release}; cat /etc/hostname; ls /srv/app\n")
        name = f"app:{release}"
        built = docker.build(context, name)
        assert built.returncode == 0, built.stdout + built.stderr
        with docker.running(name) as service, docker.running(docker.busybox()) as cache:
            for _ in range(_REDEPLOYED_EVERY):
                docker.exec(service, "sh", "-c", "test -f /srv/app/built && cat /etc/hostname")
                docker.exec(cache, "cat", "/etc/hostname")
                if stopping.wait(_PAUSE_SECONDS):
                    return
            docker.run(name, "sh", "-c", "find /srv -type f | sort; id; df")
            docker.daemon.client("logs", service)
            docker.daemon.client("cp", f"{service}:/srv/app/built", str(folder / "built"))
            docker.daemon.client("cp", str(folder / "built"), f"{service}:/tmp/built")
            docker.daemon.client("stats", "--no-stream", check=False)
        docker.daemon.client("image", "rm", "--force", name, check=False)
