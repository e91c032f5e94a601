"""The contents of each release's golden messages other than batches; that release wrote the files beside this module.

They must stay decodable permanently, like golden batches. `python -m tests.golden.messages` writes the missing files.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from processor.correlation.groups import GroupState, encode_entry
from processor.correlation.state import write_snapshot
from processor.correlation.suppress import Tally, Throttle
from processor.correlation.windows import EventCount, LegEvent, Ordered, Temporal, ValueCount
from processor.matching.pre_match import (
    Candidate,
    Content,
    EventOrigin,
    Feed,
    Notice,
    PreMatch,
    Relay,
    RepeatedAlert,
    StateCommand,
)
from processor.matching.wire import encode_pre_match
from schemas.alert import Alert, Repeats, Window, encode_alert
from schemas.host_keys import Announcement, HostKey, encode_announcement, encode_host_key
from schemas.published_rules import PublishedFile, PublishedRules, PublishedSwitch, encode_rules

FOLDER = Path(__file__).parent
NOON = 1_700_000_000_000_000_000


def alert_0_1() -> Alert:
    """Return an alert in which every field is set."""
    return Alert(
        id="018bcfe5-6800-8000-8000-0123456789ab",
        time=NOON + 1,
        rule="Grüße",
        priority="Warning",
        output="read /etc/shadow",
        output_fields={"fd.name": "/etc/shadow", "proc.pid": 7, "proc.pcmdline": None},
        tags=("T1003", "host"),
        source="syscall",
        hostname="web-1",
        host_id="0123456789abcdef0123456789abcdef",
        event={"evt.is_open_read": True, "evt.rawres": -2, "proc.aname": ("bash", "sshd"), "x": 1.5, "fd.name": "/a"},
        window=Window(
            count=3,
            first=NOON - 9,
            last=NOON + 1,
            group={"fd.cip": "192.0.2.7", "container.id": None},
            values=("a", "b"),
            legs={"downloaded": {"evt.time": NOON - 9, "fd.name": "/tmp/x"}},
        ),
        repeats=Repeats(first_id="018bcfe5-6800-8000-8000-000000000001", count=9, first=NOON - 8, last=NOON, period=60),
    )


def alert_0_3() -> Alert:
    """Return an alert in which every field is set, the texts of its rule included."""
    return replace(alert_0_1(), cluster_name="Köln-1", description="Wer liest das?", response="Grüße prüfen.")


def pre_match_0_1() -> PreMatch:
    """Return a pre-matched event in which every field is set."""
    values = {"null": None, "yes": True, "long": -3, "double": 0.5, "text": "\udcff", "list": ("a", "ß")}
    return PreMatch(
        origin=EventOrigin("host", "boot", NOON - 1, 4, 5),
        time=NOON,
        hostname="web-1",
        group=("192.0.2.7", None),
        feeds=(Feed("term-1", "value", values), Feed("term-2", None, {})),
        candidates=(Candidate("term-3", ("by", None), lambda: Content(("a", "b"), values, {"fd.name": "/a"})),),
    )


def pre_match_0_2() -> PreMatch:
    """Return a pre-matched event in which no field has its default."""
    notice = Notice("Lanner internal: x", "Warning", {"lost": 3, "ß": -1}, "why \udcff")
    repeated = RepeatedAlert("first", NOON - 9, 412, NOON, 60, b"alert")
    return replace(
        pre_match_0_1(), appended=NOON + 999, is_established=False, notice=notice, weight=7, repeated=repeated
    )


def pre_match_0_3() -> PreMatch:
    """Return a pre-matched event in which every field is set."""
    command = StateCommand("learn", "owner", "\udcff", is_everywhere=True)
    further = Relay(("web-1", None), (Feed("term-5"),))
    relay = Relay((None, "\udcff"), (Feed("term-4", "rule", {"ß": -3}),), relays=(further,))
    return replace(pre_match_0_2(), command=command, relays=(relay,), via=-9)


def pre_match_0_4() -> PreMatch:
    """Return a pre-matched event in which every field is set, another in the same message included."""
    repeated = RepeatedAlert("first", NOON - 9, 412, NOON, 60, b"alert", {"fd.name": {"/\udcff": 411, "/ß": 1}})
    last = replace(pre_match_0_3(), repeated=repeated, is_partial=True)
    matches = (Candidate("term-6", (None, "\udcff"), None),)
    feeds = (Feed("term-7", "\udcff", {"ß": "a"}),)
    origin = replace(last.origin, index=3)
    earlier = PreMatch(
        origin,
        NOON - 5,
        last.hostname,
        last.group,
        feeds,
        matches,
        last.appended,
        is_established=False,
        weight=400,
        is_partial=True,
    )
    return replace(last, earlier=(earlier,))


def throttle_0_3() -> GroupState:
    """Return the state of repeats of which some values are listed."""
    throttle = Throttle("first", NOON - 9, 60, b"alert", ((-6, 5),), 4, NOON, {"fd.name": {"/\udcff": 3, "/ß": 1}})
    return GroupState("owner", ("192.0.2.7", None), "host", NOON + 1, throttle)


def tally_0_2() -> GroupState:
    """Return the state of notices, which the previous release did not have."""
    tally = Tally(EventOrigin("host", "boot", NOON - 1, 4, 0), "web-1", NOON, "Warning", "why", {"lost": 3}, ((-6, 5),))
    return GroupState("Lanner internal: x", ("host",), "host", NOON + 1, tally)


def entries_0_1() -> list[GroupState]:
    """Return one state of each kind, with every possible type of value."""
    seen = LegEvent((NOON, 5, -6), "web-1", {"fd.name": "/a", "evt.rawres": -2})
    throttle = Throttle("first", NOON - 9, 60, golden_message("alert-0.1"), ((-6, 5), (7, 8)), 4, NOON)
    states = (
        EventCount(((NOON - 9, 4, -6), seen.stamp), 3, NOON - 9),
        ValueCount(((seen.stamp, "\udcff"),)),
        Temporal((None, seen)),
        Ordered((seen.stamp, None), ((seen,), ())),
        throttle,
        replace(throttle, alert=b""),
    )
    return [
        GroupState(f"owner-{number}", ("192.0.2.7", None), "host", NOON + 1, state)
        for number, state in enumerate(states)
    ]


def published_rules_0_1() -> PublishedRules:
    """Return a version of rules in which every field is set."""
    return PublishedRules(
        files=(PublishedFile("b.yaml", b"- rule: \xff"), PublishedFile("a.yml", "# Grüße".encode())),
        switches=(
            PublishedSwitch(enable=False, by="tag", pattern="x*"),
            PublishedSwitch(enable=True, by="rule", pattern="Grüße"),
        ),
        priority="notice",
        publisher="ann (as root)",
        host="ops",
        comment="why",
        previous="20231114-000000-01234567",
        difference=("+ rule X added", "~ list y: items changed"),
    ).named(NOON)


def host_key_0_1() -> HostKey:
    """Return a decision about a host in which every field is set."""
    return HostKey(host_id="grüße-1", state="enrolled", public_key=bytes(range(32)), since=NOON, by="ann@ops")


def host_announcement_0_1() -> Announcement:
    """Return an announcement in which every field is set."""
    return Announcement(
        host_id="grüße-1", hostname="web-1", public_key=bytes(range(32)), announced=NOON, collector_version="0.1.0"
    )


GOLDEN_MESSAGES: Mapping[str, Callable[[], bytes]] = {
    "alert-0.1": lambda: encode_alert(alert_0_1()),
    "alert-0.2": lambda: encode_alert(replace(alert_0_1(), cluster_name="Köln-1")),
    "alert-0.3": lambda: encode_alert(alert_0_3()),
    "pre_match-0.1": lambda: encode_pre_match(pre_match_0_1()),
    "pre_match-0.2": lambda: encode_pre_match(pre_match_0_2()),
    "pre_match-0.3": lambda: encode_pre_match(pre_match_0_3()),
    "pre_match-0.4": lambda: encode_pre_match(pre_match_0_4()),
    "memory-0.1": lambda: write_snapshot(NOON + 2, list(map(encode_entry, entries_0_1()))),
    "memory-0.2": lambda: write_snapshot(NOON + 2, [encode_entry(tally_0_2())]),
    "memory-0.3": lambda: write_snapshot(NOON + 2, [encode_entry(throttle_0_3())]),
    "published_rules-0.1": lambda: encode_rules(published_rules_0_1()),
    "host_key-0.1": lambda: encode_host_key(host_key_0_1()),
    "host_announcement-0.1": lambda: encode_announcement(host_announcement_0_1()),
}


def golden_message(name: str) -> bytes:
    """Return a golden message. name: kind and release, such as alert-0.1."""
    return (FOLDER / f"{name}.bin").read_bytes()


def main() -> None:
    """Write the missing golden messages."""
    for name, make in GOLDEN_MESSAGES.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(make())


if __name__ == "__main__":
    main()
