import json
from dataclasses import replace

import pytest

from schemas.pod import MAX_RECORD_BYTES, BadPod, Pod, PodObject, decode_pod, encode_pod

POD = Pod(
    uid="u-1",
    name="web-59f-1",
    namespace="prod",
    node="worker-1",
    service_account="web",
    labels=(("app", "web"),),
    namespace_uid="ns-1",
    namespace_labels=(("env", "production"),),
    owners=(PodObject("ReplicaSet", "web-59f", "rs-1"), PodObject("Deployment", "web", "d-1", (("team", "shop"),))),
    services=(PodObject("Service", "shop", "svc-1", ()),),
)


@pytest.mark.parametrize("pod", [POD, Pod("u", "n", "ns"), replace(POD, namespace_labels=(), is_shortened=True)])
def test_a_record_comes_back_as_it_was(pod: Pod) -> None:
    """Unknown labels stay apart from none."""
    assert decode_pod(encode_pod(pod)) == pod


def test_a_pod_with_too_much_gets_a_shortened_record() -> None:
    """A user who sets thousands of labels loses labels, not the record."""
    labels = tuple((f"k{n}" + "x" * 250, "v" * 63) for n in range(500))
    services = tuple(PodObject("Service", f"s{n}", f"u{n}", labels) for n in range(50))
    data = encode_pod(replace(POD, labels=labels, namespace_labels=labels, services=services))
    found = decode_pod(data)
    assert len(data) <= MAX_RECORD_BYTES
    assert found.is_shortened
    assert found.owners == POD.owners
    assert len(found.services) == 16


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 5000,
        b'{"uid":"u","name":7}',
        b'{"uid":"u","labels":[]}',
        b'{"uid":"u","labels":{"a":1}}',
        b'{"uid":"u","owners":{}}',
        b'{"uid":"u","owners":["x"]}',
        b'{"uid":"u","services":' + json.dumps([{"name": "s"}] * 17).encode() + b"}",
        b'{"uid":"u","labels":' + json.dumps({str(n): "" for n in range(65)}).encode() + b"}",
        b'{"uid":"' + b"u" * 513 + b'"}',
        b'{"uid":"u","name":"' + b"n" * MAX_RECORD_BYTES + b'"}',
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    """Nobody who may write to the topic can fill a processor's memory or stop it."""
    with pytest.raises(BadPod):
        decode_pod(data)


def test_a_name_that_is_too_long_is_refused_when_it_is_written() -> None:
    """The writer accepts no more than readers do."""
    with pytest.raises(BadPod):
        encode_pod(replace(POD, name="x" * 600))
