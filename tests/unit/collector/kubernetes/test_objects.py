import json
from typing import Any

import pytest

from collector.kubernetes.objects import Owner, UnusableAnswer, WatchEvent, decode_event, decode_page, decode_status
from tests.kubernetes_api import pod, status, thing

STATIC = "0123456789abcdef0123456789abcdef"
NODE = {"kind": "Node", "name": "worker-1", "uid": "n-1", "controller": True}


def page(*items: dict[str, Any], version: str = "7", token: str = "") -> bytes:
    """Return a page of a list."""
    return json.dumps({"metadata": {"resourceVersion": version, "continue": token}, "items": items}).encode()


def test_a_pod_is_reduced_to_what_records_need() -> None:
    """Environment, annotations and managed fields are gone."""
    owner = thing("ReplicaSet", "web-59f", "rs-1", "prod")
    found = decode_page(page(pod("web-1", "p-1", labels={"b": "2", "a": "1"}, owner=owner), token="next"))
    (item,) = found.items
    assert (found.version, found.continues) == ("7", "next")
    assert (item.uid, item.name, item.namespace, item.node, item.service_account) == (
        *("p-1", "web-1", "prod"),
        *("worker-1", "web"),
    )
    assert item.labels == (("a", "1"), ("b", "2"))
    assert item.owner == Owner("ReplicaSet", "web-59f", "rs-1")
    assert item.key == "p-1"
    assert "s3cr3t" not in repr(item)


def test_of_many_labels_the_first_ones_are_stored() -> None:
    """A user can set as many as fit into an object."""
    (item,) = decode_page(page(pod("web-1", "p-1", labels={f"k{n:04}": "v" for n in range(1000)}))).items
    assert len(item.labels) == 64
    assert item.is_shortened


def test_a_service_that_selects_by_too_many_labels_selects_nothing() -> None:
    """A selector that was cut would select the wrong pods."""
    selector = {f"k{n}": "v" for n in range(65)}
    (item,) = decode_page(page(thing("Service", "s", "u", "prod", spec={"selector": selector}))).items
    assert item.selector == ()


@pytest.mark.parametrize(
    ("mirror", "owner", "key"),
    [
        (STATIC, NODE, STATIC),
        (STATIC, None, "p-1"),
        (STATIC, NODE | {"kind": "ReplicaSet"}, "p-1"),
        ("8f0d4c0e-0f29-4d5e-9a53-3f0f2f5f7f11", NODE, "p-1"),
        ("", NODE, "p-1"),
    ],
)
def test_a_static_pod_has_the_uid_of_its_cgroup(mirror: str, owner: dict[str, Any] | None, key: str) -> None:
    """Its mirror counts only if a node owns it, and never under another pod's uid."""
    annotations = {"kubernetes.io/config.mirror": mirror}
    (item,) = decode_page(page(pod("etcd-worker-1", "p-1", owner=owner, annotations=annotations))).items
    assert item.key == key


def test_events_of_a_watch() -> None:
    """Changes, bookmarks and errors."""
    item = pod("web-1", "p-1")
    item["metadata"]["resourceVersion"] = "9"
    change = decode_event(json.dumps({"type": "MODIFIED", "object": item}).encode())
    assert (change.type, change.version, change.item and change.item.uid) == ("MODIFIED", "9", "p-1")
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "12"}}}
    assert decode_event(json.dumps(bookmark).encode()) == WatchEvent("BOOKMARK", "12")
    error = decode_event(json.dumps({"type": "ERROR", "object": status(410, "too old")}).encode())
    assert error.status is not None
    assert (error.status.code, error.status.message) == (410, "too old")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"{", b"\xff", b'{"metadata":{},"items":[]}', page({"metadata": 7})]
)
def test_another_answer_than_a_list_is_unusable(data: bytes) -> None:
    """A proxy may answer with a page of its own."""
    with pytest.raises(UnusableAnswer):
        decode_page(data)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"type":"ADDED"}', b'{"type":"ADDED","object":7}', b"<html>"])
def test_another_line_than_an_event_is_unusable(line: bytes) -> None:
    """A line can be cut, too."""
    with pytest.raises(UnusableAnswer):
        decode_event(line)


def test_a_failure_without_status_has_no_code() -> None:
    """A load balancer's error page is not JSON."""
    assert decode_status(b"<html>").code == 0
