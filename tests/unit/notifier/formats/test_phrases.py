from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.formats.phrases import action, where
from tests.unit.alerts import alert

CAT = {"proc.name": "cat", "user.name": "root", "user.uid": 0}


@pytest.mark.parametrize(
    ("event", "phrase"),
    [
        (
            {"evt.type": "openat", "fd.name": "/etc/shadow", "evt.is_open_read": True},
            "cat (root) opened /etc/shadow for reading",
        ),
        (
            {"evt.type": "openat", "fd.name": "/x", "evt.is_open_read": True, "evt.is_open_write": True},
            "cat (root) opened /x for reading and writing",
        ),
        (
            {"evt.type": "openat", "fd.name": "/x", "evt.failed": True, "evt.res": "EACCES"},
            "cat (root) failed to open /x (EACCES)",
        ),
        (
            {"evt.type": "execve", "proc.pname": "nginx", "proc.cmdline": "sh -c id", "user.name": None},
            "nginx (0) ran sh -c id",
        ),
        ({"evt.type": "execve", "proc.exepath": "/bin/cat"}, "cat (root) ran /bin/cat"),
        (
            {"evt.type": "connect", "fd.sip": "::1", "fd.sport": 22, "evt.failed": True, "evt.res": "EINPROGRESS"},
            "cat (root) connected to [::1]:22",
        ),
        (
            {"evt.type": "connect", "fd.sip": "192.0.2.7", "fd.sport": 22, "fd.sip.name": "a.example"},
            "cat (root) connected to 192.0.2.7:22, looked up as a.example",
        ),
        (
            {"evt.type": "accept4", "fd.cip": "192.0.2.7", "fd.cport": 22, "fd.cip.name": "a.example"},
            "cat (root) accepted a connection from 192.0.2.7:22, looked up as a.example",
        ),
        (
            {"evt.type": "sendto", "fd.sip": "192.0.2.7", "fd.sport": 443, "tls.client.server_name": "a.example"},
            "cat (root) asked for a.example (TLS) at 192.0.2.7:443",
        ),
        (
            {"evt.type": "send", "fd.sip": "::1", "fd.sip.name": "a.example", "tls.client.server_name": "a.example"},
            "cat (root) asked for a.example (TLS) at [::1]",
        ),
        (
            {
                "evt.type": "recvfrom",
                "dns.question.name": "a.example",
                "dns.question.type": "A",
                "dns.answers": "192.0.2.7",
            },
            "cat (root) looked up a.example (A): 192.0.2.7",
        ),
        (
            {"evt.type": "recvmsg", "dns.question.name": "a.example", "dns.response_code": "NXDOMAIN"},
            "cat (root) looked up a.example: NXDOMAIN",
        ),
        ({"evt.type": "connect", "fd.name": "/run/x.sock"}, "cat (root) connected to /run/x.sock"),
        ({"evt.type": "rename", "fs.path.source": "/a", "fs.path.target": "/b"}, "cat (root) renamed /a to /b"),
        ({"evt.type": "unlinkat", "fs.path.name": "/a"}, "cat (root) removed /a"),
        ({"evt.type": "bpf"}, "cat (root) called bpf"),
        ({"evt.type": "bpf", "evt.failed": True}, "cat (root) failed to call bpf"),
    ],
)
def test_an_alert_is_one_phrase(event: dict[str, Any], phrase: str) -> None:
    """The phrase states who did what to what, and whether it worked."""
    assert action(alert(event={**CAT, **event}, output_fields={})) == phrase


def test_an_alert_without_a_process_shows_its_output() -> None:
    """This holds for alerts about Lanner itself and of Falco's plugins."""
    assert action(alert(event={}, output="events were lost")) == "events were lost"


@pytest.mark.parametrize(
    ("event", "place"),
    [
        ({}, "on web-3"),
        ({"container.id": "host", "container.name": "host"}, "on web-3"),
        ({"container.id": "0123456789ab"}, "in 0123456789ab on web-3"),
        ({"container.id": "0123456789ab", "container.name": "shop"}, "in shop on web-3"),
        ({"container.id": "0", "k8s.pod.name": "shop-7", "k8s.ns.name": "prod"}, "in prod/shop-7 on web-3"),
    ],
)
def test_the_place_is_the_innermost_one_with_a_name(event: dict[str, Any], place: str) -> None:
    """The name of a pod comes before that of its container."""
    assert where(alert(event=event)) == place


def test_the_place_of_an_audit_event_is_its_cluster() -> None:
    """It names no host."""
    places = [where(replace(alert(), source="k8s_audit", cluster_name=name)) for name in ("prod", "")]

    assert places == ["in cluster prod", "in Kubernetes"]


NAMES = [
    *("proc.name", "fd.name", "user.name", "evt.type", "fd.sip", "fd.sip.name", "tls.client.server_name"),
    *("dns.question.name", "dns.question.type", "dns.answers"),
]


@given(st.dictionaries(st.sampled_from(NAMES), st.text() | st.integers()))
def test_any_event_gives_a_bounded_phrase(event: dict[str, Any]) -> None:
    """A host chooses types and lengths."""
    long = {name: value * 5000 if isinstance(value, str) else value for name, value in event.items()}
    assert len(action(alert(event={"evt.type": "openat", **long}, output="o"))) <= 2_000
