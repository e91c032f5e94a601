import dataclasses

import pytest

from processor.compiler import operators
from processor.detection.detector import Detector
from processor.detection.stage import compile_ruleset
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.rule import MAX_RULE_TEXT_BYTES, RulesetOptions
from schemas.alert import Alert
from schemas.batch import Container, EventBatch, EventBit, Process
from schemas.catalog.priorities import Priority
from tests.unit.processor.batches import INIT, batch_of
from tests.unit.processor.plain_rules import DetectionRule

CAT = Process(pid=7, ppid=1, name="cat", args=("/etc/shadow",), parent=0, uid=0, user="root")
WEB = Container("3d09256ebd53", "3d09256ebd53" * 5, "docker", name="web")
OPEN = {"type": "openat", "process": 1, "fd_type": "file", "fd_num": 3, "bits": EventBit.OPEN_READ | EventBit.HAS_RES}


def rule(name: str, condition: str, output: str = "%proc.name %fd.name", **more: object) -> DetectionRule:
    """Make a rule of text."""
    return dataclasses.replace(DetectionRule(name, parse(condition), output), **more)  # type: ignore[arg-type]


def batch(*events: dict[str, object]) -> EventBatch:
    """Make a batch of a cat's events."""
    return batch_of(*events, processes=[INIT, CAT, dataclasses.replace(CAT, container=0)], containers=[WEB])


def detect(rules: list[DetectionRule], *events: dict[str, object], **settings: object) -> list[Alert]:
    """Evaluate events by rules."""
    return Detector(rules, RulesetOptions(append_container=False, **settings)).process(BatchView(batch(*events)))  # type: ignore[arg-type]


SHADOW = rule("Shadow", "evt.type in (open, openat) and evt.is_open_read = true and fd.name = /etc/shadow")


def test_a_matching_event_makes_an_alert() -> None:
    """The alert has the rule, the text, the fields and the whole event."""
    [alert] = detect([SHADOW], {**OPEN, "fd_name": "/etc/passwd"}, {**OPEN, "fd_name": "/etc/shadow"})

    assert (alert.rule, alert.priority, alert.output) == ("Shadow", "Notice", "cat /etc/shadow")
    assert alert.output_fields == {"proc.name": "cat", "fd.name": "/etc/shadow"}
    assert (alert.hostname, alert.source) == ("web-3", "syscall")
    assert alert.event["proc.cmdline"] == "cat /etc/shadow"
    assert alert.event["proc.pname"] == "systemd"
    assert "proc.aname[2]" not in alert.event


def test_the_texts_of_a_rule_travel_in_its_alerts() -> None:
    """They are on one line and bounded."""
    told = dataclasses.replace(SHADOW, description="Someone reads\n  it.\n", response="Look. " * 1000)

    [alert] = detect([told], {**OPEN, "fd_name": "/etc/shadow"})

    assert alert.description == "Someone reads it."
    assert alert.response.startswith("Look. Look.")
    assert len(alert.response.encode()) <= MAX_RULE_TEXT_BYTES


def test_a_symlink_does_not_hide_the_file() -> None:
    """The event is evaluated under the kernel's name too, and the alert has the name that matched."""
    [alert] = detect([SHADOW], {**OPEN, "fd_name": "/tmp/innocent", "fd_realpath": "/etc/shadow"})

    assert alert.output == "cat /etc/shadow"
    assert alert.event["fd.realpath"] == "/etc/shadow"


def test_the_lexical_name_still_counts_where_the_kernel_has_another() -> None:
    """A rule on /var/run finds what the kernel calls /run; one alert, with the rule's name."""
    run = rule("Run", "evt.type = openat and fd.name startswith /var/run and fd.directory = /var/run")

    [alert] = detect([run], {**OPEN, "fd_name": "/var/run/x", "fd_realpath": "/run/x"})

    assert alert.output_fields["fd.name"] == "/var/run/x"


def test_a_file_has_both_names_only_for_rules_on_its_name() -> None:
    """A rule without the name fires once, not once a name."""
    alerts = detect([rule("Any", "evt.type = openat")], {**OPEN, "fd_name": "/a", "fd_realpath": "/b"})

    assert [alert.output_fields["fd.name"] for alert in alerts] == ["/a"]


def test_the_first_rule_in_order_wins_or_all_do() -> None:
    """rule_matching chooses."""
    rules = [rule("Late", "proc.name = cat"), SHADOW]
    event = {**OPEN, "fd_name": "/etc/shadow"}

    assert [alert.rule for alert in detect(rules, event)] == ["Late"]
    assert [alert.rule for alert in detect(rules, event, rule_matching="all")] == ["Late", "Shadow"]


def test_rules_below_the_floor_are_left_out() -> None:
    """The floor is a priority; graver ones stay."""
    severe = rule("Grave", "evt.type = openat", priority=Priority.ERROR)
    detector = compile_ruleset([SHADOW, severe], {}, RulesetOptions(minimum_priority=Priority.WARNING)).detector

    assert detector.rule_names == ("Grave",)
    assert detector.event_types == {"openat"}


def test_the_same_cause_gives_the_same_id() -> None:
    """Ids come of the cause alone, and sort by time."""
    event = {**OPEN, "fd_name": "/etc/shadow"}
    [first], [second] = detect([SHADOW], event), detect([SHADOW], event)
    [later] = detect([SHADOW], {**event, "time": first.time + 10**9})

    assert first.id == second.id
    assert first.id < later.id
    assert first.id[14] == "8"


def test_a_fault_in_a_rule_is_counted_and_the_others_go_on() -> None:
    """The faulty rule is named with its first fault."""
    broken = rule("Broken", "evt.type = openat and proc.cmdlenargs > 1")
    detector = Detector([broken, SHADOW], RulesetOptions(append_container=False))
    odd = batch_of(
        {**OPEN, "fd_name": "/etc/shadow", "process": 0},
        processes=[dataclasses.replace(CAT, args=(1,), parent=-1)],  # type: ignore[arg-type]
    )

    alerts = detector.process(BatchView(odd))

    assert [alert.rule for alert in alerts] == []
    assert detector.faults["Broken"] == 1
    assert "Broken" in detector.first_errors


def test_host_and_container_are_distinguished() -> None:
    """container.id is host outside of containers."""
    inside = rule("Inside", "evt.type = openat and container.id != host", "%container.id %container.name")

    assert [alert.output for alert in detect([inside], OPEN, {**OPEN, "process": 2})] == ["3d09256ebd53 web"]


def test_an_event_type_that_no_rule_requires_costs_nothing() -> None:
    """It has no matcher."""
    detector = Detector([SHADOW])

    assert detector.process(BatchView(batch({"type": "close", "process": 1}))) == []
    assert detector.event_types == {"open", "openat"}
    assert detector.events == 1


def test_a_rule_without_event_type_is_evaluated_on_every_type() -> None:
    """Also on system calls that come as generic events."""
    detector = Detector([rule("Any", "proc.name = cat", "%evt.type")], RulesetOptions(append_container=False))

    assert [alert.output for alert in detector.process(BatchView(batch({"type": "fsopen", "process": 1})))] == [
        "fsopen"
    ]
    assert {"openat", "fsopen", "execve"} <= detector.event_types


def test_a_predicate_on_names_that_raises_costs_no_other_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is evaluated once for each name and all rules, yet only its own rule fails."""

    def broken(_: object) -> bool:
        raise RuntimeError("broken for a test")

    monkeypatch.setattr(operators, "_glob", lambda *_, **__: broken)
    raises = rule("Raises", "evt.type = openat and fd.name glob /etc/sha*")
    detector = Detector([raises, SHADOW], RulesetOptions(append_container=False))

    alerts = detector.process(BatchView(batch({**OPEN, "fd_name": "/etc/shadow"})))

    assert [alert.rule for alert in alerts] == ["Shadow"]
    assert detector.faults == {"Raises": 1}
