from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifier.formats.ecs import document
from notifier.formats.facts import facts
from notifier.formats.phrases import remarks
from schemas.alert import Alert, Repeats
from tests.unit.alerts import TIME, alert

REMARKED = [
    *("proc.exe.origin", "proc.exe.package", "proc.exe.package.version", "proc.exe.written_by"),
    *("proc.exe.written_by.user", "fd.sip.name", "tls.client.server_name"),
]
EVENT = {
    "proc.cmdline": "cat /etc/shadow",
    "proc.name": "cat",
    "proc.exepath": "/usr/bin/cat",
    "proc.pid": 7,
    "proc.pname": "sh",
    "proc.aname[2]": "nginx",
    "user.name": "www-data",
    "user.uid": 33,
    "user.loginuid": 1000,
    "container.id": "0123456789ab",
    "container.name": "shop",
    "container.image.repository": "shop",
    "container.image.tag": "1.2",
    "k8s.pod.name": "shop-7",
    "k8s.ns.name": "prod",
    "fd.name": "/etc/shadow",
    "fd.type": "file",
}


def test_facts_stand_in_the_order_of_their_worth() -> None:
    """What a rule names is shown once; what it alone names follows, and what has no value is left out."""
    fields = {"fd.name": "/etc/shadow", "proc.aname[4]": None, "evt.arg.flags": "O_RDONLY", "proc.tty": 0}

    assert list(facts(alert(event=EVENT, output_fields=fields))) == [
        ("command", "cat /etc/shadow"),
        ("user", "www-data (uid 33), logged in as uid 1000"),
        ("parents", "sh < nginx"),
        ("image", "shop:1.2"),
        ("container", "shop (0123456789ab)"),
        ("pod", "prod/shop-7"),
        ("file", "/etc/shadow"),
        ("program", "/usr/bin/cat"),
        ("pid", "7"),
        ("evt.arg.flags", "O_RDONLY"),
    ]


def test_a_summary_states_the_times_of_its_repeats_as_people_read_them() -> None:
    """Nanoseconds are for programs; the first alert's id stays, to find it."""
    start = 1_795_942_344_168_206_687
    repeats = Repeats("a1", 3, start, start + 60 * 10**9, 10**12)
    counts = {"repeats.first_id": "a1", "repeats.count": 3, "repeats.first": start, "repeats.last": start + 60 * 10**9}

    assert list(facts(alert(event={}, output_fields=counts, repeats=repeats))) == [
        ("repeats", "3, from 2026-11-29 08:52:24 to 2026-11-29 08:53:24 UTC"),
        ("repeats.first_id", "a1"),
    ]


def test_times_are_shown_as_times() -> None:
    """Those of a window, of a step of a sequence and of a process; another number stays one."""
    fields = dict.fromkeys(("correlation.last", "correlation.leg[a].evt.time", "proc.pid.ts"), TIME)
    shown = dict(facts(alert(event={}, output_fields={**fields, "evt.arg.pid": TIME, "evt.rawtime": 2**70})))
    assert {shown[name] for name in fields} == {"2026-11-24T14:31:30.479846943Z"}
    assert (shown["evt.arg.pid"], shown["evt.rawtime"]) == (str(TIME), str(2**70))


@pytest.mark.parametrize(
    ("event", "fact"),
    [
        ({"fd.type": "ipv4", "fd.name": "10.0.0.1:1->10.0.0.2:2"}, ("connection", "10.0.0.1:1->10.0.0.2:2")),
        (
            {"fd.type": "ipv4", "fd.name": "10.0.0.5:1->10.0.0.2:2", "fd.sip.name": "a.example"},
            ("connection", "10.0.0.5:1->10.0.0.2:2, looked up as a.example"),
        ),
        ({"fd.rip.name": "a.example"}, ("connection", "a.example")),
        (
            {"dns.question.name": "a.example", "dns.question.type": "AAAA", "dns.answers": "b.example ::1"},
            ("looked up", "a.example (AAAA): b.example ::1"),
        ),
        ({"tls.client.server_name": "a.example"}, ("TLS server", "a.example")),
        ({"proc.exe.sha256": "5a" * 32}, ("SHA-256", "5a" * 32)),
        ({"fd.name": "/tmp/x", "fd.realpath": "/etc/shadow"}, ("file", "/tmp/x (real path /etc/shadow)")),
        ({"fs.path.source": "/a", "fs.path.target": "/b"}, ("file", "/a -> /b")),
        ({"user.uid": 0, "user.loginuid": -1}, ("user", "uid 0")),
    ],
)
def test_facts_are_put_together_from_several_fields(event: dict[str, Any], fact: tuple[str, str]) -> None:
    """Each is one thing to an analyst."""
    assert list(facts(alert(event=event, output_fields={}))) == [fact]


def test_an_indicator_is_the_first_fact() -> None:
    """Entry and list, and where they are known its source and description."""
    fields = {"indicator.name": "192.0.2.0/24", "indicator.list": "servers", "indicator.kind": "address", "x": "y"}
    more = {"indicator.source": "a feed", "indicator.description": "Emotet"}
    for each, text in (
        (fields, "192.0.2.0/24 in servers"),
        (fields | more, "192.0.2.0/24 in servers (a feed): Emotet"),
        (
            fields | {"indicator.found_later": "2026-12-01T10:00:00Z"},
            "192.0.2.0/24 in servers; found later, at 2026-12-01T10:00:00Z, in stored events",
        ),
    ):
        found = list(facts(alert(event={"proc.pid": 7}, output_fields=each)))
        assert found == [("indicator", text), ("pid", "7"), ("x", "y")]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"origin": "package", "package": "coreutils", "package.version": "9.1-1"}, "from package coreutils 9.1-1"),
        ({"origin": "modified", "package": "coreutils"}, "of package coreutils, modified"),
        (
            {"origin": "modified", "package": "coreutils", "written_by": "dd", "written_at": TIME - 10**9},
            "of package coreutils, modified 1s ago by dd",
        ),
        ({"origin": "image"}, "from the image"),
        (
            {"origin": "dropped", "written_by": "curl", "written_by.user": "ann", "written_at": TIME - 40 * 10**9},
            "dropped 40s ago by curl (ann)",
        ),
        ({"origin": "dropped"}, "from no package"),
        ({"origin": "memory"}, "in memory, from no file"),
    ],
)
def test_the_origin_of_a_program_follows_its_command(event: dict[str, Any], text: str) -> None:
    """If it is known; an unknown one is left out."""
    fields = {"proc.cmdline": "id", "user.name": "ann", **{f"proc.exe.{name}": value for name, value in event.items()}}
    origin = ("origin", text)
    assert list(facts(alert(event=fields, output_fields={}))) == [("command", "id"), origin, ("user", "ann")]
    assert origin not in facts(alert(event={**fields, "proc.exe.origin": "unknown"}, output_fields={}))


def test_a_script_has_an_origin_beside_its_interpreter() -> None:
    """The program is the interpreter, whose package states nothing about what runs."""
    event = {"proc.exe.origin": "package", "proc.exe.package": "bash", "proc.script.path": "/tmp/x.sh"}
    event |= {"proc.script.origin": "dropped", "proc.script.written_by": "curl", "proc.script.sha256": "5a"}
    made = alert(event=event, output_fields={})
    assert list(facts(made)) == [
        ("origin", "from package bash"),
        ("script", "/tmp/x.sh dropped by curl"),
        ("script's SHA-256", "5a"),
    ]
    assert remarks(made) == "program from package bash; script /tmp/x.sh dropped by curl"


def test_a_file_of_code_has_an_origin_beside_the_program() -> None:
    """The file is a library or module that the program loads."""
    event = {"proc.exe.origin": "package", "proc.exe.package": "bash", "fd.name": "/x.so", "fd.type": "file"}
    event |= {"fd.file.origin": "dropped", "fd.file.sha256": "5a"}
    made = alert(event=event, output_fields={})
    assert list(facts(made)) == [
        ("origin", "from package bash"),
        ("file", "/x.so"),
        ("file's origin", "from no package"),
        ("file's SHA-256", "5a"),
    ]
    assert remarks(made) == "program from package bash; file from no package"


def test_remarks_state_what_an_output_does_not() -> None:
    """Messages without facts have them below the output; an alert of which nothing is known has none."""
    event = {"proc.exe.origin": "dropped", "fd.sip.name": "a.example", "tls.client.server_name": "b.example"}
    text = "program from no package; address looked up as a.example; asked for b.example (TLS)"
    assert remarks(alert(event=event, output="command=curl a.example b.example")) == text
    same = {"fd.sip.name": "a.example", "tls.client.server_name": "a.example"}
    assert remarks(alert(event=same)) == "asked for a.example (TLS)"
    named = {"fd.sip.name": "a.example", "tls.client.server_name": "b.example"}
    assert remarks(alert(event=event, output_fields=named)) == "program from no package"
    answer = {"dns.question.name": "a.example", "dns.question.type": "A", "dns.response_code": "NOERROR"}
    assert remarks(alert(event=answer)) == "looked up a.example (A): no address"
    assert remarks(alert(event={})) == ""


@given(st.dictionaries(st.sampled_from(REMARKED), st.text(st.characters(codec=None), min_size=1)))
def test_remarks_are_bounded(event: dict[str, Any]) -> None:
    """A host chooses names and their lengths."""
    long = {name: value * 5000 for name, value in event.items()}
    assert len(remarks(alert(event={"proc.exe.origin": "modified", **long}))) <= 2_000


def test_an_alert_that_was_read_from_json_has_the_facts_of_its_output_fields() -> None:
    """Such an alert has no event."""
    made = alert(event={}, output_fields={"proc.cmdline": "id", "user.name": "root", "x": "y"})

    assert list(facts(made)) == [("command", "id"), ("user", "root"), ("x", "y")]


def test_alerts_state_the_server() -> None:
    """As a line for people, and below `falco` in ECS's documents."""
    named = {"name": "nginx", "package": "nginx", "package.version": "1.22.1-9", "package.type": "deb"}
    event = {"proc.name": "sh", **{f"proc.server.{name}": value for name, value in named.items()}}
    event |= {"proc.server.listening": ("tcp 0.0.0.0:80",), "proc.server.libraries": ("lib3 1",)}
    made = Alert("1", 1, "r", "Notice", "o", {}, event=event)
    assert dict(facts(made))["server"] == "nginx (package nginx 1.22.1-9), listens on tcp 0.0.0.0:80"
    stated = document(made)["falco"]["server"]
    assert (stated["package_version"], stated["package_type"], stated["libraries"]) == ("1.22.1-9", "deb", ("lib3 1",))
    assert "server" not in document(replace(made, event={"proc.name": "sh"}))["falco"]
