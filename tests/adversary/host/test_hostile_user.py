"""An unprivileged user tries to blind `lanner run`: actions of others raise alerts, or are reported as lost."""

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.floods import Flood
from tests.adversary.host.watched import RULES, Honest, Watched, hostile_process, missing_marks, watched
from tests.adversary.length import MARKS, chosen
from tests.live.compiled import Programs
from tests.live.needs import lacking

pytestmark = [pytest.mark.live, *MARKS]

SECONDS = round(chosen(2, 30))
"""How long each kind goes on."""
KINDS = ("fork", "exec", "nested", "deep", "overlay", "deleted", "cgroup", "names")
FLOODS = (
    *(Flood(kind, 2) for kind in ("denied", "varied", "chdir", "connect", "exec", "create")),
    *(Flood("long", 16, 100), Flood("deep", 16, 150), Flood("fork", 64, 32), Flood("long", 64, 100, users=16)),
)
"""The latter by short-lived processes, each of which would have a share of its own."""
MEMORY_MIB = 700
"""The most that `lanner run` may hold, whatever the hostile user does."""
_NOBODY = 65534
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the rules."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(RULES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def watch(rules: Path) -> Iterator[Watched]:
    """Run one `lanner run` that goes through all kinds, so that what one leaves behind meets the next."""
    with watched(rules) as made:
        yield made


@contextmanager
def own_cgroup() -> Iterator[Path]:
    """Yield a control group that the hostile user owns, as a user's manager does by systemd's delegation."""
    root = next(
        (each for each in map(Path, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")) if (each / "cgroup.procs").is_file()),
        None,
    )
    if root is None or not (root / "cgroup.controllers").is_file():
        lacking("no control groups of version 2 are mounted here")
    folder = root / f"lanner-adversary-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    for path in (folder, folder / "cgroup.procs", folder / "cgroup.threads", folder / "cgroup.subtree_control"):
        os.chown(path, _NOBODY, _NOBODY)
    try:
        yield folder
    finally:
        for each in (*folder.glob("*/"), folder):
            each.rmdir()


@contextmanager
def container_cgroup() -> Iterator[Path]:
    """Yield a control group of root's as a container has it, in the hierarchy that the kernel side reads."""
    version_1 = Path("/sys/fs/cgroup/pids")
    outer = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / f"lanner-adversary-{uuid.uuid4().hex[:8]}"
    inner = outer / "container"
    inner.mkdir(parents=True)
    try:
        yield inner
    finally:
        inner.rmdir()
        outer.rmdir()


def attack(watch: Watched, command: list[str], honest: Honest, cgroup: Path | None = None) -> int:
    """Carry out one kind beside honest actions, and check all that has to hold; return how often it was done."""
    with hostile_process(command, cgroup=cgroup) as process:
        with honest:
            out, _ = process.communicate(timeout=SECONDS + 40)
            answered = watch.is_healthy()
        assert process.returncode == 0
    missing = missing_marks(watch, honest.marks)
    assert watch.watching.process.poll() is None, watch.watching.err.text[-3000:]
    assert answered or watch.is_healthy()
    assert not missing, (sorted(missing)[:5], len(honest.marks), watch.losses())
    assert watch.memory_mib() < MEMORY_MIB
    return int(out)


@pytest.mark.parametrize("kind", KINDS)
def test_acts_of_others_are_alerted_on_beside(
    watch: Watched, programs: Programs, ground: Path, tmp_path: Path, record_property: Record, kind: str
) -> None:
    """Every marked act has its alert; `lanner run` lives and answers."""
    command = [programs("hostile_user"), kind, str(SECONDS)]
    honest = Honest(tmp_path, kind)
    if kind == "cgroup":
        with own_cgroup() as cgroup:
            done = attack(watch, [*command, str(cgroup)], honest, cgroup)
    else:
        done = attack(watch, [*command, str(ground)], honest)
    assert done > 0
    record_property(kind, (done, len(honest.marks), len(honest.marks - watch.marks()), dict(watch.losses())))


@pytest.mark.parametrize("flood", FLOODS, ids=str)
def test_acts_of_others_are_alerted_on_beside_a_flood(
    watch: Watched, tmp_path: Path, record_property: Record, flood: Flood
) -> None:
    """Processes do one thing as fast as they can: the same holds."""
    honest = Honest(tmp_path, f"flood-{FLOODS.index(flood)}")
    done = attack(watch, flood.command(SECONDS), honest)
    assert done > 0
    record_property(str(flood), (done, len(honest.marks), len(honest.marks - watch.marks()), dict(watch.losses())))


@pytest.mark.parametrize("kind", ["long", "deep"])
def test_acts_of_the_host_are_alerted_on_beside_a_flood_in_a_container(
    watch: Watched, tmp_path: Path, kind: str
) -> None:
    """The container's root has the number of the host's, but not its share."""
    with container_cgroup() as cgroup:
        attack(watch, Flood(kind, 16, 100, users=0).command(SECONDS), Honest(tmp_path, f"container-{kind}"), cgroup)


def test_it_stops_and_starts_in_the_middle_of_a_storm(
    rules: Path, programs: Programs, ground: Path, tmp_path: Path
) -> None:
    """In good order, without a traceback, and the next one alerts at once."""
    honest = Honest(tmp_path, "again")
    with hostile_process([programs("hostile_user"), "fork", "60", str(ground)]):
        for number in range(2):
            with watched(rules) as watch:
                honest.act(number)
                assert not missing_marks(watch, {mark for mark in honest.marks if mark.endswith(f"-{number}")})
                assert watch.watching.end(signal.SIGTERM) == 0
            assert "Traceback" not in watch.watching.err.text
