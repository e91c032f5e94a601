import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.containers import lookup
from collector.containers.docker import Docker
from collector.containers.lookup import FAILURE_DELAY, RETRY_DELAY, KnownContainers
from collector.containers.naming import ContainerName
from tests.unit.collector.containers.answers import ID, inspected
from tests.unit.collector.containers.daemon import Daemon, docker_daemon, until

NAME = ContainerName("docker", ID)
PATH = f"/containers/{ID}/json"


@contextmanager
def containers(path: Path, timeout: float = 5.0) -> Iterator[tuple[KnownContainers, Daemon]]:
    """Give what is known of containers, with a daemon behind it."""
    with docker_daemon(path / "s") as daemon:
        known = KnownContainers([Docker(daemon.path, timeout)])
        yield known, daemon
        known.close()


def settle(known: KnownContainers, now: int = 0) -> list[str]:
    """Wait for the next containers that are no longer pending."""
    settled: list[str] = []

    def has_settled() -> bool:
        settled.extend(known.tick(now))
        return bool(settled)

    until(has_settled)
    return settled


def asked(daemon: Daemon) -> int:
    """Count the questions about the container."""
    return daemon.asked.count(PATH)


def test_a_container_is_asked_for_when_first_seen(tmp_path: Path) -> None:
    """Until the answer is there its id and type are known."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        assert known.is_pending(NAME, 0)
        assert (known.facts(NAME).id, known.facts(NAME).type, known.facts(NAME).name) == (ID[:12], "docker", None)

        assert settle(known) == [ID]

        assert not known.is_pending(NAME, 0)
        assert (known.facts(NAME).name, known.version) == ("web", 1)
        assert known.facts(NAME) is known.facts(NAME)
        assert asked(daemon) == 1


def test_a_name_survives_its_container(tmp_path: Path) -> None:
    """Late events need it, and Docker has forgotten it."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        known.is_pending(NAME, 0)
        settle(known)
        daemon.answers = {}

        known.tick(10 * FAILURE_DELAY)

        assert known.facts(NAME).name == "web"


def test_a_container_that_is_only_being_made_is_asked_for_once_more(tmp_path: Path) -> None:
    """The first process may be seen before Docker knows its container."""
    with containers(tmp_path) as (known, daemon):
        known.is_pending(NAME, 0)
        until(lambda: known.tick(0) or known._later)
        assert known.is_pending(NAME, 0)
        daemon.answers = {PATH: inspected()}

        assert known.tick(RETRY_DELAY - 1) == []
        assert settle(known, RETRY_DELAY) == [ID]

        assert (known.facts(NAME).name, known.not_found, asked(daemon)) == ("web", 0, 2)


def test_a_container_that_nobody_knows_settles_after_the_second_question(tmp_path: Path) -> None:
    """What its cgroup says is then all."""
    with containers(tmp_path) as (known, daemon):
        known.is_pending(NAME, 0)
        until(lambda: known.tick(0) or known._later)

        assert settle(known, RETRY_DELAY) == [ID]

        assert (known.not_found, asked(daemon), known.facts(NAME).name) == (1, 2, None)
        assert not known.is_pending(NAME, 10 * RETRY_DELAY)


def test_a_container_that_did_not_run_yet_is_completed_later(tmp_path: Path) -> None:
    """Its events don't wait for the address and the start."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected(State={}, NetworkSettings={})}
        known.is_pending(NAME, 0)
        assert settle(known) == [ID]
        assert known.facts(NAME).name == "web"
        daemon.answers = {PATH: inspected()}

        known.tick(RETRY_DELAY)
        until(lambda: known.tick(RETRY_DELAY) or known.version == 2)

        assert known.facts(NAME).ip == "172.17.0.2"


def test_a_daemon_that_hangs_never_holds_up_the_caller(tmp_path: Path) -> None:
    """Fifty containers at once cost the caller no more than fifty look-ups in a dictionary."""
    with containers(tmp_path, timeout=0.2) as (known, daemon):
        daemon.is_hanging = True
        begin = time.monotonic()
        for number in range(50):
            assert known.is_pending(ContainerName("docker", f"{number:064x}"), 0)
            known.facts(ContainerName("docker", f"{number:064x}"))
            known.tick(0)
        # Fifty answers awaited one after the other would take ten seconds.
        assert time.monotonic() - begin < 5

        settle(known)
        assert known.unanswered >= 1


def test_a_daemon_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """Not at once, and events no longer wait for it."""
    with containers(tmp_path, timeout=0.05) as (known, daemon):
        daemon.is_hanging = True
        known.is_pending(NAME, 0)
        settle(known)
        daemon.is_hanging = False
        daemon.answers = {PATH: inspected()}

        assert not known.is_pending(NAME, FAILURE_DELAY - 1)
        assert not known.is_pending(NAME, FAILURE_DELAY)
        until(lambda: known.tick(FAILURE_DELAY) or known.version == 1)

        assert known.facts(NAME).name == "web"


def test_a_runtime_that_is_not_asked_leaves_nothing_pending(tmp_path: Path) -> None:
    """Nobody waits where nobody will answer."""
    with containers(tmp_path) as (known, daemon):
        name = ContainerName("podman", ID)

        assert not known.is_pending(name, 0)
        assert (known.facts(name).type, daemon.asked) == ("podman", [])


def test_too_many_questions_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be asked is counted and goes on."""
    monkeypatch.setattr(lookup, "MAX_ASKED", 3)
    with containers(tmp_path, timeout=0.2) as (known, daemon):
        daemon.is_hanging = True

        pending = [known.is_pending(ContainerName("docker", f"{number:064x}"), 0) for number in range(5)]

        assert (pending, known.unanswered) == ([True, True, True, False, False], 2)


def test_a_fault_in_a_runtime_s_module_ends_no_thread(tmp_path: Path) -> None:
    """The next container is asked for all the same."""

    class Faulty(Docker):
        def answers(self, name: ContainerName) -> bool:
            if threading.current_thread().name.startswith("container-lookup") and name.full_id != ID:
                raise ZeroDivisionError
            return True

    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: inspected()}
        known = KnownContainers([Faulty(daemon.path)], workers=1)
        for number in range(3):
            known.is_pending(ContainerName("docker", f"{number:064x}"), 0)
        known.is_pending(NAME, 0)

        until(lambda: known.tick(0) or known.facts(NAME).name)
        known.close()
        assert known.unanswered == 3


def test_threads_end_when_told(tmp_path: Path) -> None:
    """And never hold up the end of the program, for they are daemons."""
    with containers(tmp_path) as (known, _):
        workers = known._workers
        assert all(worker.daemon for worker in workers)
        known.close()
        until(lambda: not any(worker.is_alive() for worker in workers))
