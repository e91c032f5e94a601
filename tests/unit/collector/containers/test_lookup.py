import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.containers import lookup, values
from collector.containers.bundles import Bundles
from collector.containers.cri import Cri
from collector.containers.docker import Docker
from collector.containers.lookup import FAILURE_DELAY, RETRY_DELAY, KnownContainers
from collector.containers.values import MAX_BYTES
from collector.processes.container_names import ContainerName, container_of
from tests.unit.collector.containers.answers_of_docker import ID, LISTED, entry, inspected
from tests.unit.collector.containers.daemon import Daemon, docker_daemon, until
from tests.unit.collector.containers.test_shims import written_shim

NAME = ContainerName("docker", ID)
PATH = f"/containers/{ID}/json"


@contextmanager
def containers(
    path: Path, timeout: float = 5.0, bundles: Bundles | None = None
) -> Iterator[tuple[KnownContainers, Daemon]]:
    """Yield a container look-up with a daemon behind it."""
    with docker_daemon(path / "s") as daemon:
        known = KnownContainers([Docker(daemon.path, timeout=timeout)], bundles)
        yield known, daemon
        known.close()


def settle(known: KnownContainers, now: int = 0) -> list[str]:
    """Wait for the next containers that are no longer pending."""
    settled: list[str] = []

    def has_settled() -> bool:
        settled.extend(known.poll(now))
        return bool(settled)

    until(has_settled)
    return settled


def requests(daemon: Daemon) -> int:
    """Count the queries about the container."""
    return daemon.requests.count(PATH)


def test_a_container_is_queried_when_first_seen(tmp_path: Path) -> None:
    """Until the response arrives, only id and type are known."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        assert known.is_pending(NAME, 0)
        assert (known.facts(NAME).id, known.facts(NAME).type, known.facts(NAME).name) == (ID[:12], "docker", None)

        assert settle(known) == [ID]

        assert not known.is_pending(NAME, 0)
        assert (known.facts(NAME).name, known.version) == ("web", 1)
        assert known.facts(NAME) is known.facts(NAME)
        assert requests(daemon) == 1


def test_the_name_is_known_while_docker_still_starts_the_container(tmp_path: Path) -> None:
    """Its events wait for the rest, but if they can't, they have the name."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {LISTED: [entry()], PATH: inspected()}
        daemon.hanging = {PATH}
        known.is_pending(NAME, 0)
        until(lambda: known.poll(0) or known.facts(NAME).name)

        assert (known.is_pending(NAME, 0), known.facts(NAME).privileged) == (True, None)

        daemon.release.set()
        assert settle(known) == [ID]
        assert known.facts(NAME).privileged is False


def test_a_name_survives_its_container(tmp_path: Path) -> None:
    """Late events need it, and Docker has forgotten it."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        known.is_pending(NAME, 0)
        settle(known)
        daemon.answers = {}

        known.poll(10 * FAILURE_DELAY)

        assert known.facts(NAME).name == "web"


def test_a_container_that_is_only_being_made_is_queried_once_more(tmp_path: Path) -> None:
    """The first process may show up before Docker knows its container."""
    with containers(tmp_path) as (known, daemon):
        known.is_pending(NAME, 0)
        until(lambda: known.poll(0) or known._retries)
        assert known.is_pending(NAME, 0)
        daemon.answers = {PATH: inspected()}

        assert known.poll(RETRY_DELAY - 1) == []
        assert settle(known, RETRY_DELAY) == [ID]

        assert (known.facts(NAME).name, known.outcomes["not_found"], requests(daemon)) == ("web", 0, 2)


def test_a_container_that_nobody_knows_settles_after_the_second_question(tmp_path: Path) -> None:
    """Then only its cgroup's facts are known."""
    with containers(tmp_path) as (known, daemon):
        known.is_pending(NAME, 0)
        until(lambda: known.poll(0) or known._retries)

        assert settle(known, RETRY_DELAY) == [ID]

        assert (known.outcomes["not_found"], requests(daemon), known.facts(NAME).name) == (1, 2, None)
        assert not known.is_pending(NAME, 10 * RETRY_DELAY)


def test_a_container_that_did_not_run_yet_is_completed_later(tmp_path: Path) -> None:
    """Its events don't wait for the address and the start."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected(State={}, NetworkSettings={})}
        known.is_pending(NAME, 0)
        assert settle(known) == [ID]
        assert known.facts(NAME).name == "web"
        daemon.answers = {PATH: inspected()}

        known.poll(RETRY_DELAY)
        until(lambda: known.poll(RETRY_DELAY) or known.version == 2)

        assert known.facts(NAME).ip == "172.17.0.2"


def test_a_daemon_that_hangs_never_holds_up_the_caller(tmp_path: Path) -> None:
    """Fifty containers at once cost the caller no more than fifty dictionary look-ups."""
    with containers(tmp_path, timeout=0.2) as (known, daemon):
        daemon.is_hanging = True
        begin = time.monotonic()
        for number in range(50):
            assert known.is_pending(ContainerName("docker", f"{number:064x}"), 0)
            known.facts(ContainerName("docker", f"{number:064x}"))
            known.poll(0)
        # Waiting for fifty responses in sequence would take ten seconds.
        assert time.monotonic() - begin < 5

        settle(known)
        assert known.outcomes["unanswered"] >= 1


def test_a_daemon_that_comes_back_is_queried_again(tmp_path: Path) -> None:
    """Not at once, and events no longer wait for it."""
    with containers(tmp_path, timeout=0.5) as (known, daemon):
        daemon.is_hanging = True
        known.is_pending(NAME, 0)
        settle(known)
        daemon.is_hanging = False
        daemon.answers = {PATH: inspected()}

        assert not known.is_pending(NAME, FAILURE_DELAY - 1)
        assert not known.is_pending(NAME, FAILURE_DELAY)
        until(lambda: known.poll(FAILURE_DELAY) or known.version == 1)

        assert known.facts(NAME).name == "web"


def test_a_daemon_that_stays_silent_is_queried_less_and_less_often(tmp_path: Path) -> None:
    """The delay doubles from a second to half a minute, and begins again at a second once it has answered."""
    with containers(tmp_path, timeout=0.02) as (known, daemon):
        daemon.is_hanging = True
        known.is_pending(NAME, 0)
        settle(known)
        now, failures = 0, 1
        for delay in (1, 2, 4, 8, 16, 30, 30):
            now += delay * 1_000_000_000
            known.is_pending(NAME, now - 1)
            assert known.outcomes["unanswered"] == failures
            known.is_pending(NAME, now)
            failures += 1
            until(lambda now=now, failures=failures: known.poll(now) or known.outcomes["unanswered"] == failures)


def test_a_runtime_that_is_not_queried_leaves_nothing_pending(tmp_path: Path) -> None:
    """Nothing waits without a query."""
    with containers(tmp_path) as (known, daemon):
        name = ContainerName("podman", ID)

        assert not known.is_pending(name, 0)
        assert (known.facts(name).type, daemon.requests) == ("podman", [])


def test_too_many_queries_are_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries beyond the limit are counted, and events go on."""
    monkeypatch.setattr(lookup, "MAX_IN_FLIGHT", 3)
    with containers(tmp_path, timeout=0.2) as (known, daemon):
        daemon.is_hanging = True

        pending = [known.is_pending(ContainerName("docker", f"{number:064x}"), 0) for number in range(5)]

        assert (pending, known.outcomes["unanswered"]) == ([True, True, True, False, False], 2)


def made_up(number: int) -> ContainerName:
    """Return the name of a container forged by someone with a cgroup of their own."""
    return ContainerName("docker", f"{number:064x}", None, f"/user.slice/docker-{number:064x}.scope", is_certain=False)


def test_made_up_ids_push_out_no_container_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a user or a container's root creates, confirmed facts stay."""
    monkeypatch.setattr(lookup, "MAX_KNOWN", 3)
    monkeypatch.setattr(lookup, "MAX_UNCERTAIN", 3)
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        known.is_pending(NAME, 0)
        settle(known)

        for number in range(50):
            known.facts(made_up(number))
            known.poll(0)

        assert known.facts(NAME).name == "web"
        assert requests(daemon) == 1


def test_made_up_ids_do_not_use_up_the_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are queried last, and nothing waits for them."""
    monkeypatch.setattr(lookup, "MAX_UNCERTAIN_IN_FLIGHT", 4)
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.is_hanging = True
        daemon.answers = {PATH: inspected()}
        known = KnownContainers([Docker(daemon.path)], workers=1)
        assert not any(known.is_pending(made_up(number), 0) for number in range(50))
        until(lambda: daemon.requests)

        assert known.is_pending(NAME, 0)
        until(lambda: any(question.name == NAME for *_, question in list(known._questions[0].queue) if question))
        daemon.is_hanging = False
        daemon.release.set()
        assert settle(known) == [ID]
        known.close()

    assert known.facts(NAME).name == "web"
    assert known.outcomes["unanswered"] == 46 + 1
    assert daemon.requests[1:3] == [LISTED, PATH]


def test_one_that_its_runtime_confirms_is_known_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nested container's facts come a little later, and forged ids don't evict it then."""
    monkeypatch.setattr(lookup, "MAX_UNCERTAIN", 1)
    nested = ContainerName("docker", ID, None, f"/docker/{'f' * 64}/docker/{ID}", is_certain=False)
    (tmp_path / "71").mkdir()
    (tmp_path / "71" / "cgroup").write_text(f"0::{nested.cgroup}\n")
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: inspected(State={"Pid": 71, "StartedAt": "2026-11-24T14:31:30Z"})}
        known = KnownContainers([Docker(daemon.path, proc=tmp_path)])
        assert not known.is_pending(nested, 0)
        until(lambda: known.poll(0) or known.version == 1)
        for number in range(5):
            known.facts(made_up(number))
        known.close()

    assert known.facts(nested).name == "web"


def test_who_only_claims_an_id_does_not_get_its_facts(tmp_path: Path) -> None:
    """Two cgroups with the same id are two containers."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected()}
        known.is_pending(NAME, 0)
        settle(known)
        claim = ContainerName("docker", ID, None, f"/docker/{'f' * 64}/docker/{ID}", is_certain=False)

        known.is_pending(claim, 0)
        until(lambda: known.poll(0) or known._retries)

        assert (known.facts(claim).name, known.facts(NAME).name) == (None, "web")


def test_a_fault_in_a_runtime_s_module_ends_no_thread(tmp_path: Path) -> None:
    """The next container is queried all the same."""

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

        until(lambda: (known.poll(0), known.facts(NAME).name)[1])
        known.close()
        assert known.outcomes["unanswered"] == 3


def test_a_container_that_is_gone_is_queried_once_more_and_no_longer(tmp_path: Path) -> None:
    """CRI-O knows a container a little later than its cgroup, and still knows it when that is gone."""
    gone = ContainerName("docker", ID, None, "/lanner-test-no-such-cgroup")
    with containers(tmp_path) as (known, daemon):
        known.is_pending(gone, 0)
        until(lambda: known.poll(0) or known._retries)
        assert settle(known, RETRY_DELAY) == [gone.key]

        known.poll(100 * RETRY_DELAY)

        assert (requests(daemon), known._retries, known.is_pending(gone, 100 * RETRY_DELAY)) == (2, {}, False)


def test_texts_are_clipped(tmp_path: Path) -> None:
    """Whoever builds an image or creates a pod chooses them."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {PATH: inspected(Name="/" + "x" * 10_000)}
        known.is_pending(NAME, 0)
        settle(known)

        assert 2000 < len((known.facts(NAME).name or "").encode()) <= lookup.MAX_TEXT_BYTES


def test_the_age_of_an_unknown_container_is_reported_until_it_is_known(tmp_path: Path) -> None:
    """A runtime that Lanner doesn't find shows up as a container that stays unknown."""
    with containers(tmp_path) as (known, daemon):
        known.is_pending(NAME, 5)
        until(lambda: known.poll(5) or known._retries)
        assert settle(known, 5 + RETRY_DELAY) == [ID]
        assert known.unknown_for(5 + RETRY_DELAY) == RETRY_DELAY
        daemon.answers = {PATH: inspected()}

        until(lambda: known.poll(5 + 4 * RETRY_DELAY) or known.outcomes["runtime"])

        assert known.unknown_for(9 * RETRY_DELAY) == 0


def test_a_bundle_gives_facts_where_the_runtime_gives_none(roots: Path) -> None:
    """Podman's socket is often switched off."""
    folder = roots / "default" / ID
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"annotations": {"nerdctl/name": "web"}}')
    name = ContainerName("containerd", ID)
    known = KnownContainers([Cri([])], Bundles([roots], []))
    known.is_pending(name, 0)
    until(lambda: known.poll(0) or known.outcomes["bundle"])
    known.close()

    assert known.facts(name).name == ID


def test_a_runtime_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """Its own containers wait; those of another one could hide in that time."""
    with docker_daemon(tmp_path / "s") as hanging, docker_daemon(tmp_path / "t") as daemon:
        hanging.is_hanging = True
        daemon.answers = {PATH: inspected()}
        known = KnownContainers([Docker(hanging.path, timeout=60), Docker(daemon.path, "podman")])
        for number in range(10):
            known.is_pending(ContainerName("docker", f"{number:064x}"), 0)
        until(lambda: len(hanging.requests) == lookup.WORKERS)
        other = ContainerName("podman", ID)
        known.is_pending(other, 0)

        assert settle(known) == [ID]
        known.close()

    assert known.facts(other).name == "web"


def test_a_runtime_that_hangs_keeps_no_bundle_from_being_read(roots: Path) -> None:
    """It may have begun to hang for that."""
    folder = roots / "default" / ("b" * 64)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"linux": {"resources": {}}}')
    with containers(roots, timeout=60, bundles=Bundles([roots], [])) as (known, daemon):
        daemon.is_hanging = True
        for number in range(10):
            known.is_pending(ContainerName("docker", f"{number:064x}"), 0)
        until(lambda: len(daemon.requests) == lookup.WORKERS)
        other = ContainerName("docker", "b" * 64)
        known.is_pending(other, 0)

        until(lambda: known.poll(0) or known.facts(other).privileged is False)


PRIVILEGED = {"linux": {"resources": {"devices": [{"allow": True, "access": "rwm"}]}}}


@pytest.mark.parametrize("padding", ["x" * 2_000_000, [[]] * 4_000_000])
def test_a_padded_specification_is_called_truncated_until_it_is_decoded(roots: Path, padding: object) -> None:
    """Events that can't wait any longer have that as a fact; for one that can't be decoded, it stays."""
    folder = roots / "default" / ID
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**PRIVILEGED, "padding": padding}))
    name, notes = ContainerName("containerd", ID), list[str]()
    known = KnownContainers([Cri([])], Bundles([roots], []), on_failure=notes.append)
    with values._one_at_a_time:
        assert known.is_pending(name, 0)
        until(lambda: known.poll(0) or known.facts(name).is_truncated)
        early = known.facts(name)
    until(lambda: known.poll(0) or known.outcomes["bundle"] or known.outcomes["truncated"], 20)
    known.close()

    is_decoded = isinstance(padding, str)
    facts = known.facts(name)
    assert early.privileged is None
    assert (facts.is_truncated, facts.privileged) == (not is_decoded, True if is_decoded else None)
    assert known.outcomes["truncated"] == len(notes) == (not is_decoded)


def test_an_answer_that_is_too_large_is_no_failure(tmp_path: Path) -> None:
    """Rules can match that the facts are truncated, and it isn't read again and again."""
    with containers(tmp_path) as (known, daemon):
        daemon.answers = {LISTED: [entry()], PATH: b"x" * (MAX_BYTES + 1)}
        known.is_pending(NAME, 0)
        settle(known)

        facts = known.facts(NAME)
        assert (facts.name, facts.privileged, facts.is_truncated) == ("web", None, True)
        assert (known.outcomes["truncated"], known.outcomes["unanswered"]) == (1, 0)


@pytest.mark.parametrize(("privileged", "image"), [(True, "docker.io/library/nginx:1"), (False, None)])
def test_a_nested_containers_bundle_counts_if_the_outer_one_is_privileged(
    roots: Path, privileged: bool, image: str | None
) -> None:
    """As in kind. Root of another container could make up bundles, to be taken for something harmless."""
    own = roots / "k8s.io" / ("a" * 64)
    bundle = own.parent / ("b" * 64)
    for folder in (own, bundle):
        folder.mkdir(parents=True)
    annotations = {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.image-name": "nginx:1"}
    (bundle / "config.json").write_text(json.dumps({"annotations": annotations}))
    outer = container_of(f"/docker/{ID}")
    nested = container_of(f"/docker/{ID}/kubelet/kubepods/pod{'1' * 32}/{'b' * 64}")
    assert outer is not None
    assert nested is not None
    written_shim(roots / "proc", outer.cgroup, own)
    with containers(roots, bundles=Bundles([], [], roots / "proc")) as (known, daemon):
        daemon.answers = {PATH: inspected(HostConfig={"Privileged": privileged})}
        known.is_pending(outer, 0)
        settle(known)
        assert known.is_pending(nested, 0, 7) == privileged
        until(lambda: known.poll(0) or known._retries)

        assert known.facts(nested).image == image


def test_threads_end_when_requested(tmp_path: Path) -> None:
    """They never delay the end of the program, because they are daemon threads."""
    with containers(tmp_path) as (known, _):
        workers = known._workers
        assert all(worker.daemon for worker in workers)
        known.close()
        until(lambda: not any(worker.is_alive() for worker in workers))


def test_a_failing_runtime_is_reported_once_in_a_while(tmp_path: Path) -> None:
    """The message contains the reason, and isn't repeated for each container of a busy host."""
    notes: list[str] = []
    known = KnownContainers([Docker(tmp_path / "none")], on_failure=notes.append)
    later = 1 + lookup.FAILURE_NOTE_INTERVAL
    for number, now in enumerate((0, 1, later)):
        known.is_pending(ContainerName("docker", f"{number:064x}"), now)
        settle(known, now)
    known.close()

    assert known.outcomes["unanswered"] == 3
    assert len(notes) == 2
    assert notes[0].startswith("facts about containers are incomplete: RuntimeUnavailable: ")
