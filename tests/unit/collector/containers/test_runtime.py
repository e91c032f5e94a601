import os
from pathlib import Path

import pytest
from h2.connection import H2Connection

from collector.containers import protocol
from collector.containers.bundles import Bundle
from collector.containers.cri import Cri
from collector.containers.protobuf import encode
from collector.containers.protocol import ContainerNotFound, RuntimeUnavailable
from collector.processes.container_names import ContainerName
from schemas.batch import Container
from tests.unit.collector.containers.test_grpc import Respond, responding, server

ID = "b" * 64
NAME = ContainerName("containerd", ID, None, f"/kubepods/besteffort/pod1/{ID}")
STATUS = encode([(1, ID), (2, encode([(1, "app")]))])


def answering(*answers: bytes) -> Respond:
    """Return a handler that gives one answer after the other, then that there is nothing."""
    rest = list(answers)

    def respond(http: H2Connection, stream: int, headers: dict[str, str]) -> None:
        found = responding(rest.pop(0)) if rest else responding(b"", "5")
        found(http, stream, headers)

    return respond


def test_a_container_is_known_by_its_status(tmp_path: Path) -> None:
    """And by its whole id."""
    with server(tmp_path / "s", answering(encode([(1, STATUS)]))):
        assert Cri([tmp_path / "s"]).inspect(NAME).name == "app"


def test_the_beginning_of_an_id_is_another_container(tmp_path: Path) -> None:
    """CRI looks up short ids, too, and whoever starts a container without CRI chooses its name."""
    short = ContainerName("containerd", ID[:12], None, f"/k8s.io/{ID[:12]}")
    with server(tmp_path / "s", answering(encode([(1, STATUS)]))), pytest.raises(ContainerNotFound):
        Cri([tmp_path / "s"]).inspect(short)


def test_a_specification_that_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status alone is small."""
    monkeypatch.setattr(protocol, "_MAX_RECEIVED", 30_000)
    large = encode([(1, STATUS), (2, encode([(1, "info"), (2, "x" * 50_000)]))])
    with server(tmp_path / "s", answering(large, encode([(1, STATUS)]))):
        found = Cri([tmp_path / "s"]).inspect(NAME)

    assert (found.name, found.privileged, found.is_truncated) == ("app", None, True)


def test_a_shims_socket_that_others_can_replace_is_not_asked(roots: Path) -> None:
    """Nor is another one in its place. It may be reached through the root of a process."""
    facts = Container(ID[:12], ID, "containerd")
    bundle = Bundle(facts, "k8s.io", str(roots / "s"))
    through = Bundle(facts, "k8s.io", f"/proc/{os.getpid()}/root{roots}/s")
    with server(roots / "s", answering(encode([(1, STATUS)]), encode([(1, STATUS)]))):
        assert Cri([]).inspect(NAME, bundle).name == "app"
        assert Cri([]).inspect(NAME, through).name == "app"
        roots.chmod(0o1777)

        with pytest.raises(RuntimeUnavailable, match="others than root can change"):
            Cri([]).inspect(NAME, bundle)
