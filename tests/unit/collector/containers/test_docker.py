import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.containers import docker, protocol
from collector.containers.docker import Docker
from collector.containers.protocol import ContainerNotFound, RuntimeUnavailable
from collector.containers.values import MAX_AT_ONCE, MAX_BYTES, ResponseTooLarge
from collector.processes.container_names import ContainerName
from tests.unit.collector.containers.answers_of_docker import (
    DIGEST,
    ID,
    IMAGE,
    LISTED,
    SANDBOX,
    entry,
    image,
    inspected,
)
from tests.unit.collector.containers.daemon import docker_daemon, dripping_socket, silent_socket

NAME = ContainerName("docker", ID)
PATH = f"/containers/{ID}/json"


def test_a_container_and_its_image_are_queried(tmp_path: Path) -> None:
    """An ordinary container takes two requests."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: inspected(), f"/images/{IMAGE}/json": image()}

        found = Docker(daemon.path).inspect(NAME)

        assert (found.name, found.image_digest) == ("web", DIGEST)
        assert daemon.requests == [PATH, f"/images/{IMAGE}/json"]


def test_the_sandbox_is_queried_for_what_the_pod_shares(tmp_path: Path) -> None:
    """An image that was removed in the meantime is not an error."""
    with docker_daemon(tmp_path / "s") as daemon:
        shared = inspected(HostConfig={"NetworkMode": f"container:{SANDBOX}"}, NetworkSettings={})
        daemon.answers = {PATH: shared, f"/containers/{SANDBOX}/json": inspected(Id=SANDBOX)}

        assert Docker(daemon.path).inspect(NAME).ip == "172.17.0.2"


def test_an_unknown_container_is_not_found(tmp_path: Path) -> None:
    """It may be a container that is still being created."""
    with docker_daemon(tmp_path / "s") as daemon, pytest.raises(ContainerNotFound):
        Docker(daemon.path).inspect(NAME)


@pytest.mark.parametrize("answer", [b"{", b"[]", b"5", b"\xff", b"[" * 100_000, None])
def test_an_answer_without_sense_is_none(tmp_path: Path, answer: bytes | None) -> None:
    """Truncated, not JSON, not an object, deeply nested, or disconnected."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: answer}

        with pytest.raises(RuntimeUnavailable):
            Docker(daemon.path).inspect(NAME)


@pytest.mark.parametrize(
    ("kind", "name", "failure"),
    [
        ("docker", NAME, RuntimeUnavailable),
        ("docker", ContainerName("containerd", ID, "u-1"), ContainerNotFound),
        ("podman", ContainerName("podman", ID), ContainerNotFound),
    ],
)
def test_a_missing_socket_is_a_failure_only_for_dockers_own(
    tmp_path: Path, kind: str, name: ContainerName, failure: type[Exception]
) -> None:
    """Podman has none unless it is switched on, and most nodes have no Docker."""
    with pytest.raises(failure):
        Docker(tmp_path / "none", kind).inspect(name)


def test_a_large_answer_has_all_facts(tmp_path: Path) -> None:
    """Whoever creates a container chooses its labels, and its image's author those of the image."""
    labels = {"app": "web", **{f"l{number}": "x" * 60_000 for number in range(80)}}
    with docker_daemon(tmp_path / "s") as daemon:
        config = {**inspected()["Config"], "Labels": labels}
        daemon.answers = {PATH: inspected(Config=config, HostConfig={"Privileged": True})}
        daemon.answers[f"/images/{IMAGE}/json"] = b"x" * (MAX_BYTES + 1)
        assert len(json.dumps(daemon.answers[PATH])) > 4 * MAX_AT_ONCE

        found = Docker(daemon.path).inspect(NAME)

    assert (found.name, found.privileged, found.labels, found.is_truncated) == ("web", True, (("app", "web"),), False)


@pytest.mark.parametrize("head", [b"Content-Length: 99999999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n-1\r\n"])
def test_an_answer_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    """Whatever size it gives."""
    monkeypatch.setattr(protocol, "_MAX_RECEIVED", 100_000)
    parts = itertools.chain([b"HTTP/1.1 200 OK\r\n" + head], itertools.repeat(b"x" * 60_000))
    with dripping_socket(tmp_path / "s", parts), pytest.raises(ResponseTooLarge):
        Docker(tmp_path / "s").inspect(NAME)


def test_an_answer_beyond_the_limit_is_too_large(tmp_path: Path) -> None:
    """Another failure would be tried again."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: b"x" * (MAX_BYTES + 1), LISTED: b"x" * (MAX_BYTES + 1)}
        docker = Docker(daemon.path)

        assert docker.listed(NAME) is None
        with pytest.raises(ResponseTooLarge):
            docker.inspect(NAME)


TRAILERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b"x")),
        itertools.chain([TRAILERS], itertools.repeat(b"a: b\r\n")),
        itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_daemon_that_never_ends_is_left(tmp_path: Path, parts: Iterator[bytes]) -> None:
    """A byte at a time, trailers without end, or answers before the answer: one query takes no longer than it may."""
    with dripping_socket(tmp_path / "s", parts), pytest.raises(RuntimeUnavailable, match="timed out"):
        Docker(tmp_path / "s", timeout=0.3).inspect(NAME)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://localhost/other\r\n\r\n",
        b"SSH-2.0-x\r\n" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
    ],
)
def test_an_answer_that_is_not_dockers_is_none(tmp_path: Path, answer: bytes) -> None:
    """A redirection, another protocol, too many headers, sizes that aren't true."""
    with dripping_socket(tmp_path / "s", [answer]), pytest.raises((RuntimeUnavailable, ContainerNotFound)):
        Docker(tmp_path / "s").inspect(NAME)


@pytest.mark.parametrize("is_roots", [True, False])
def test_only_root_can_have_made_the_usual_socket(
    roots: Path, monkeypatch: pytest.MonkeyPatch, *, is_roots: bool
) -> None:
    """Whoever listens there is believed about every container; an operator may name any socket."""
    with docker_daemon(roots / "s") as daemon:
        daemon.answers = {PATH: inspected()}
        if not is_roots:
            roots.chmod(0o1777)
        assert Docker(daemon.path).inspect(NAME).name == "web"
        monkeypatch.setattr(docker, "DEFAULT_SOCKET", daemon.path)
        if is_roots:
            assert Docker(daemon.path).inspect(NAME).name == "web"
        else:
            with pytest.raises(RuntimeUnavailable, match="others than root can change"):
                Docker(daemon.path).inspect(NAME)


def test_a_daemon_that_hangs_is_left(tmp_path: Path) -> None:
    """Whether or not it accepts the connection."""
    with docker_daemon(tmp_path / "s") as daemon, silent_socket(tmp_path / "t"):
        daemon.is_hanging = True
        begin = time.monotonic()
        for path in (daemon.path, tmp_path / "t"):
            with pytest.raises(RuntimeUnavailable, match="timed out"):
                Docker(path, timeout=0.1).inspect(NAME)

        assert time.monotonic() - begin < 10


def test_no_daemon_is_reported_with_its_path(tmp_path: Path) -> None:
    """The message shows which socket was meant."""
    with pytest.raises(RuntimeUnavailable, match="nowhere"):
        Docker(tmp_path / "nowhere").inspect(NAME)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (ContainerName("docker", ID), True),
        (ContainerName("containerd", ID, "pod"), True),
        (ContainerName("containerd", ID), False),
        (ContainerName("cri-o", ID, "pod"), False),
    ],
)
def test_docker_answers_for_its_own_and_for_plain_pods(name: ContainerName, *, expected: bool) -> None:
    """The kubelet's plain cgroups don't name their runtime."""
    assert Docker().answers(name) is expected


CGROUP = f"/system.slice/docker-{ID}.scope"
RUNNING = {"Running": True, "Pid": 71, "StartedAt": "2026-11-24T14:31:30Z"}


@pytest.mark.parametrize(
    ("cgroup", "is_certain", "first_process_in", "expected"),
    [
        (CGROUP, True, CGROUP, True),
        (CGROUP, True, f"{CGROUP}/init.scope", True),
        (CGROUP, True, f"{CGROUP}2", False),
        (CGROUP, True, "/docker/" + ID, False),
        (f"/user.slice/docker-{ID}.scope", False, CGROUP, False),
        (f"/user.slice/docker-{ID}.scope", False, f"/user.slice/docker-{ID}.scope", True),
        # The container has ended, or Docker runs in another pid namespace
        (CGROUP, True, None, True),
        (f"/user.slice/docker-{ID}.scope", False, None, False),
        # As seen from a cgroup namespace
        (CGROUP, True, f"/../docker-{ID}.scope", True),
    ],
)
def test_facts_are_believed_of_the_cgroup_in_which_docker_runs_the_container(
    tmp_path: Path, cgroup: str, first_process_in: str | None, *, is_certain: bool, expected: bool
) -> None:
    """Anyone who can name a cgroup can claim any id, but doesn't get the other container's facts."""
    if first_process_in is not None:
        (tmp_path / "71").mkdir()
        (tmp_path / "71" / "cgroup").write_text(f"0::{first_process_in}\n")
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: inspected(State=RUNNING)}
        docker = Docker(daemon.path, proc=tmp_path)
        name = ContainerName("docker", ID, None, cgroup, is_certain)
        try:
            found = docker.inspect(name).name
        except ContainerNotFound:
            found = None

    assert (found == "web") is expected


def test_a_container_whose_name_is_an_id_is_not_the_one_of_that_id(tmp_path: Path) -> None:
    """Docker looks up names, too."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {PATH: inspected(Id=SANDBOX)}

        with pytest.raises(ContainerNotFound):
            Docker(daemon.path).inspect(NAME)


def test_a_container_in_the_list_is_known_before_it_has_started(tmp_path: Path) -> None:
    """An inspect would wait for the start."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {LISTED: [entry()]}

        found = Docker(daemon.path).listed(NAME)

        assert found is not None
        assert found.name == "web"


@pytest.mark.parametrize("answer", [[], [entry() | {"Id": SANDBOX}], [5], {"Id": ID}, b"{", None])
def test_a_list_without_the_container_shows_nothing(tmp_path: Path, answer: Any) -> None:
    """The inspect that follows decides whether the daemon fails."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {LISTED: answer}

        assert Docker(daemon.path).listed(NAME) is None


@pytest.mark.parametrize("name", [ContainerName("podman", ID), ContainerName("docker", ID, is_certain=False)])
def test_the_list_is_read_only_for_what_must_be_dockers(tmp_path: Path, name: ContainerName) -> None:
    """It doesn't show the first process, by which a forged id would be found out."""
    with docker_daemon(tmp_path / "s") as daemon:
        daemon.answers = {LISTED: [entry()]}

        assert Docker(daemon.path).listed(name) is None
