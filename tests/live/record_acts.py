"""Makes the shipped recording: `python -m tests.live.record_acts rules/acts.avro`, as root.

It contains the demo's actions on this kernel and a process run in a container from outside, and nothing else: no event
of another process, no environment, no name or path of the machine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from bench.noise.count import compiled_rules
from collector.agent import Collector
from collector.settings import CollectorSettings
from processor.pushdown.derive import derive
from schemas.batch import EventBatch, Process
from schemas.catalog.system_calls import ANSWERED, FILE_OPENERS, HELLOS
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from schemas.filter import PROGRAM_FILES, always
from tests.live.anonymous import anonymous
from tests.live.containers import BUSYBOX, Docker
from tests.live.dockerd import CLIENT, Dockerd

PYTHON = "/usr/bin/python3"
FREQUENT = frozenset({*FILE_OPENERS, *ANSWERED, *HELLOS, "fcntl", "ioctl"})
"""Collected only if a rule may match: with all that a busy machine does, the collector would be seconds late, and short
containers gone."""
ACTOR = """
import sys, tempfile, time
from pathlib import Path
from lanner.demo import ACTS, DemoContext
from lanner.demo.act import DemoDocker
with DemoDocker(sys.argv[1], sys.argv[2]) as docker:
    for act in ACTS:
        with tempfile.TemporaryDirectory(prefix="lanner-demo-") as directory:
            act.run(DemoContext(Path(directory), docker))
"""


def main(target: Path) -> None:
    """Record, then write what is left after everything unrelated is removed."""
    rules = compiled_rules([Path(__file__).parents[2] / "rules"], disabled=True)
    batches: list[EventBatch] = []
    with Dockerd() as daemon, tempfile.TemporaryDirectory() as directory:
        docker = Docker(daemon)
        docker.busybox()
        # The programs' paths appear in the events, so use one that any machine could have.
        installed = Path(directory, "lanner")
        for package in ("collector", "foundation", "lanner", "notifier", "schemas"):
            shutil.copytree(Path(__file__).parents[2] / package, installed / package)
        # The processes of runc, which have namespaces before they are in a container, belong to no container.
        variables = frozenset({PROGRAM_FILES})
        settings = CollectorSettings(
            variables=variables, docker_socket=daemon.socket, cache=Path(directory), unknown_containers=False
        )
        needed = derive(rules.conditions, rules.event_types, variables=variables, names=True)
        needed = always(needed, rules.event_types - FREQUENT)
        collector = Collector(rules.event_types, on_batch=batches.append, pushdown_filter=needed, settings=settings)
        collector.start()
        stop = threading.Event()
        thread = threading.Thread(target=watch, args=(collector, stop))
        thread.start()
        try:
            actor = act(docker, installed)
        finally:
            stop.wait(2)
            stop.set()
            thread.join()
            collector.stop()
        # Longest first: a replaced path must not match part of another.
        rewrite = ((str(daemon.base), "/run/docker"), (directory, "/opt"), (str(Path.cwd()), "/"))
        write(target, batches, actor, rewrite)


def watch(collector: Collector, stop: threading.Event) -> None:
    """Poll until stopped."""
    while not stop.is_set():
        collector.poll(0.1)


def act(docker: Docker, installed: Path) -> int:
    """Run the actions, run a process in a container, and return the process id of the actions."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(installed)}
    host = f"unix://{docker.socket}"
    command = [PYTHON, "-c", ACTOR, CLIENT, host]
    with subprocess.Popen(command, cwd="/", env=environment) as actor:
        assert actor.wait(300) == 0
    with docker.running(BUSYBOX, name="web") as name:
        docker.exec(name, "sh", "-c", "cat /etc/shadow; ln -s /etc/shadow /tmp/link; cat /tmp/link", tty=True)
    return actor.pid


def write(target: Path, batches: list[EventBatch], actor: int, rewrite: tuple[tuple[str, str], ...]) -> None:
    """Write the batches that still hold events, renumbered."""
    me = os.getpid()

    def is_ours(process: Process, above: frozenset[int]) -> bool:
        # Nothing that the Docker daemon does itself is recorded, but everything that it starts in containers is.
        # Before it executes, the actor is a copy of this program.
        is_actor = process.pid == actor and process.exe == PYTHON
        return is_actor or actor in above or (me in above and process.container >= 0)

    writer = RecordingWriter(target)
    sequence = number = 0
    for batch in batches:
        stored = anonymous(batch, me, is_ours, rewrite)
        if stored.count:
            assert all(container.name for container in stored.containers), "Docker was too slow: record again"
            sequence, stored.sequence, stored.first_number = sequence + 1, sequence + 1, number + 1
            stored.collector_start = batches[0].collector_start
            number += stored.count
            writer.write(encode_batch(stored))
    writer.close()
    target.chmod(0o644)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
