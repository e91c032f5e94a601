import json
import select
import socket
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lanner.console.server.views.story import decided_alerts, exception_json
from lanner.console.store.rows import ACKNOWLEDGED, COMMENT, Mark
from lanner.console.story.reading import EventArchive
from lanner.recorder.recording import RecordingStore
from lanner.recorder.rolling import RollingRecording
from lanner.recorder.store import EventRange, Reading, Stop, StoredBatch
from lanner.tuning.patch import Harm
from lanner.tuning.rule_exceptions import quieted, written
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import load_rules, read_rule_files
from schemas.alert import Alert, alert_id
from schemas.batch import EventBatch
from schemas.encoding.recording import read_recording
from tests.unit.alerts import TIME, alert
from tests.unit.lanner.console.alerts import NOW, filled, found, soon
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import Served
from tests.unit.lanner.program import lanner
from tests.unit.lanner.recorder.hosts import alert_far, alert_near, far, near
from tests.unit.recordings import shadow_read
from tests.unit.rules.shipped import RULES as RULE_FILES

IDENTITY = alert_id(TIME, "Shadow", "1", "1", 1, 2, 0)
PATH = f"/api/alerts/{IDENTITY}/story"


def shadow(**facts: Any) -> Alert:
    """Return the alert of the recorded read."""
    given = {"id": IDENTITY, "host_id": "1", "event": {"evt.num": 1, "proc.pid": 4711}, **facts}
    return alert(**given)


def recorded(folder: Path, *batches: EventBatch) -> EventArchive:
    """Return a recording as `lanner run` writes it."""
    recording = RollingRecording(folder, 8 << 20, on_error=print)
    for batch in batches:
        recording.store(batch)
    recording.close()
    return EventArchive(RecordingStore(folder), "They are retained for a day.")


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with a recording and its alerts."""
    batch = replace(shadow_read(), watched=["openat"], narrowed=["execve"], lost={"events_ring_full": 3})
    other = shadow(id="other", rule="Other\u202erule", time=TIME + 5_000_000, event={"evt.num": 77})
    made = serve("console.max_days=30000", alerts=[shadow(), other], events=recorded(tmp_path / "kept", batch))
    made.wait_for(2)
    return made


def test_a_story_is_the_tree_of_the_process_with_its_alerts_in_place(served: Served) -> None:
    """Parents by place, the event of the alert marked, alerts without an event listed, texts made visible."""
    story = served.ask(PATH).json
    (tree,) = story["trees"]
    assert [(each["name"], each["pid"], each["parent"], each["command"]) for each in tree["processes"]] == [
        ("bash", 4000, -1, "bash"),
        ("cat", 4711, 0, "cat /etc/shadow"),
    ]
    (step,) = tree["processes"][1]["steps"]
    assert (step["verb"], step["target"], step["is_trigger"]) == ("open", "/etc/shadow", True)
    assert [(each["id"], each["is_this"]) for each in step["alerts"]] == [(IDENTITY, True)]
    assert [(each["rule"], each["count"]) for each in tree["alerts"]] == [("Other\\u202erule", 1)]
    assert story["is_found"]


def test_a_story_states_what_was_not_collected(served: Served) -> None:
    """The event types that were sent, in part or not at all, and the losses."""
    (host,) = served.ask(PATH).json["collected"]
    assert host["lost"] == 3
    assert "Collected in full: openat. No other event types were collected." in host["sentences"]
    assert "Collected only if a rule at that time could match: execve." in host["sentences"]
    assert "3 events were lost (events_ring_full: 3)." in host["sentences"]


def test_a_host_without_events_of_that_time_gets_a_hint(serve: Serve, tmp_path: Path) -> None:
    """How long they are retained, and what the recording has."""
    served = serve(alerts=[shadow(host_id="9", time=time.time_ns())], events=recorded(tmp_path / "kept", shadow_read()))
    served.wait_for(1)
    story = served.ask(PATH).json
    assert story["trees"] == story["collected"] == []
    assert any(text.startswith("The recording is from ") for text in story["remarks"])
    assert story["remarks"][-1] == (
        "No events of web-3 at this time are retained, so what happened is unknown. They are retained for a day."
    )


def test_a_recording_that_has_nothing_yet_is_no_failure(serve: Serve, tmp_path: Path) -> None:
    """As when `lanner run` has just begun: the remarks have the reason, and the alert's own fields are explained."""
    served = serve("console.max_days=30000", alerts=[shadow()], events=recorded(tmp_path / "kept"))
    served.wait_for(1)
    answer = served.ask(PATH)
    assert (answer.status, answer.json["trees"]) == (200, [])
    assert any("no recordings in this folder" in text for text in answer.json["remarks"])
    assert served.ask(f"/api/alerts/{IDENTITY}/explanation").status == 200


def test_a_story_goes_on_at_the_other_end_of_a_connection(serve: Serve, tmp_path: Path) -> None:
    """With the alerts there, what was collected there, and the process that leads there."""
    archive = recorded(tmp_path / "kept", near(), far())
    served = serve("console.max_days=30000", alerts=[alert_near(), alert_far()], events=archive)
    served.wait_for(2)
    story = served.ask(f"/api/alerts/{alert_near().id}/story").json
    first, second = story["trees"]
    assert (first["host"], first["join"]) == ("web-1", None)
    assert second["join"] == {"process": 1, "local": "10.0.0.1:41234", "remote": "10.0.0.2:22"}
    assert first["processes"][1]["name"] == "ssh"
    assert [(each["name"], each["container"]) for each in second["processes"]] == [
        *(("sshd", "gate"), ("bash", "gate"), ("cat", "gate"))
    ]
    assert second["processes"][2]["steps"][0]["alerts"][0]["rule"] == "Shadow was read"
    assert [each["host"] for each in story["collected"]] == ["web-1", "db-1"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("?before=1h&after=1s", 200), ("?before=2h", 400), ("?after=never", 400), ("?before=-1s", 400)],
)
def test_the_time_is_limited(query: str, status: int, served: Served) -> None:
    """To an hour before and after."""
    assert served.ask(PATH + query).status == status


RULES = """
- macro: sensitive
  condition: fd.name in (/etc/shadow, /etc/sudoers)
- rule: A rule
  desc: x
  condition: evt.type in (open, openat) and (sensitive or proc.name = never) and not proc.cmdline contains "x=1"
  output: read %fd.name by %proc.cmdline
  priority: WARNING
"""


def with_rules(serve: Serve, folder: Path, *alerts: Alert, batch: EventBatch) -> Served:
    """Return a console with rules and a recording."""
    (folder / "rules.yaml").write_text(RULES)
    flags = (f"rules_files=[{folder}/rules.yaml]", "console.max_days=30000")
    made = serve(*flags, alerts=alerts, events=recorded(folder / "kept", batch))
    made.wait_for(len(alerts))
    return made


def test_the_condition_is_explained_for_the_whole_event(serve: Serve, tmp_path: Path) -> None:
    """With the checks that decided it, from fields that the alert itself lacks; secrets in values are masked."""
    batch = shadow_read()
    batch.processes[1] = replace(batch.processes[1], args=("--password", "hunter2", "/etc/shadow"))
    served = with_rules(serve, tmp_path, shadow(), batch=batch)
    found = served.ask(f"/api/alerts/{IDENTITY}/explanation").json
    assert (found["answer"], found["is_whole"], found["file"]) == ("matches", True, f"{tmp_path}/rules.yaml:4")
    decided = [each["text"] for each in found["checks"] if each["decides"] and each["kind"] == "check"]
    assert decided == [
        "evt.type in (open, openat)   [evt.type = openat]",
        "fd.name in (/etc/shadow, /etc/sudoers)   [fd.name = /etc/shadow]",
        'proc.cmdline contains "x=1"   [proc.cmdline = cat --password [redacted] /etc/shadow]',
    ]
    never = next(each for each in found["checks"] if "never" in each["text"])
    assert (never["verdict"], never["decides"]) == ("false", False)


def test_without_the_event_the_fields_of_the_alert_are_explained(serve: Serve, tmp_path: Path) -> None:
    """What it lacks is unknown; a rule that no longer exists is no failure."""
    lone = shadow(host_id="9", event={"evt.type": "openat", "fd.name": "/etc/shadow", "proc.cmdline": "cat"})
    served = with_rules(serve, tmp_path, lone, batch=shadow_read())
    found = served.ask(f"/api/alerts/{IDENTITY}/explanation").json
    assert (found["answer"], found["is_whole"]) == ("matches", False)
    (tmp_path / "rules.yaml").write_text(RULES.replace("A rule", "Another rule"))
    found = served.ask(f"/api/alerts/{IDENTITY}/explanation").json
    assert (found["answer"], found["checks"]) == ("no such rule", [])


def test_rules_that_cannot_be_loaded_are_a_failure_of_the_console(serve: Serve, tmp_path: Path) -> None:
    """Not of the request; the story itself needs no rules."""
    served = with_rules(serve, tmp_path, shadow(), batch=shadow_read())
    (tmp_path / "rules.yaml").write_text("- rule: broken\n")
    answer = served.ask(f"/api/alerts/{IDENTITY}/explanation")
    assert answer.status == 503
    assert "rules.yaml" in answer.json["error"]
    assert served.ask(PATH).status == 200


def test_the_rule_test_of_an_alert_passes(serve: Serve, tmp_path: Path) -> None:
    """`lanner rules test` runs it as it is; an alert that lacks what it needs gets the reason."""
    event = {"evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat", "proc.cmdline": "cat /etc/shadow"}
    served = with_rules(
        serve, tmp_path, shadow(output_fields={}, event=event), shadow(id="bare", event={}), batch=shadow_read()
    )
    found = served.ask(f"/api/alerts/{IDENTITY}/test").json
    assert found["problem"] == ""
    (tmp_path / "rules_test.yaml").write_text(found["text"])
    done = lanner("rules", "test", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "neither evt.type nor proc.name" in served.ask("/api/alerts/bare/test").json["problem"]


def test_a_siem_is_opened_with_encoded_values(serve: Serve) -> None:
    """No value ends the query or begins another one."""
    url = "console.siem_url=https://siem.example/search?q={rule}&host={host}&t={since_s}"
    served = serve(url, "console.max_days=30000", alerts=[shadow(rule='a&b="c"#\u202e', hostname="web 3/x")])
    served.wait_for(1)
    since = TIME // 10**9 - 300
    address = f"https://siem.example/search?q=a%26b%3D%22c%22%23%E2%80%AE&amp;host=web%203%2Fx&amp;t={since}"
    assert f'href="{address}"' in served.ask(f"/alerts/{IDENTITY}").text


class EndlessEvents(RecordingStore):
    """A source that never ends by itself."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.active = 0
        self.most = 0
        self._lock = threading.Lock()

    def batches(self, events: EventRange, stop: Stop) -> Reading[StoredBatch]:
        """Return one batch, then wait until the reader wants no more."""
        del events

        def batches(_: Reading[StoredBatch]) -> Generator[StoredBatch]:
            with self._lock:
                self.active += 1
                self.most = max(self.most, self.active)
            try:
                yield StoredBatch(shadow_read(), TIME // 1_000_000)
                while not stop():
                    time.sleep(0.01)
            finally:
                with self._lock:
                    self.active -= 1

        return Reading(batches)


def test_a_reading_ends_when_its_client_goes_away(serve: Serve) -> None:
    """A few run at once; pages are still served; too many are refused."""
    source = EndlessEvents()
    served = serve("console.max_days=30000", alerts=[shadow()], events=EventArchive(source, ""))
    served.wait_for(1)
    clients = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(9)]
    for client in clients:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    # Four run and four wait, which is what one user may have; whichever came last is refused.
    (refused,), _, _ = select.select(clients, [], [], 30)
    assert refused.recv(12) == b"HTTP/1.1 503"
    for _ in soon():
        if source.active == 4:
            break
    assert served.ask("/api/groups").status == 200
    for client in clients:
        client.close()
    for _ in soon():
        if source.active == 0:
            break
    assert (source.active, source.most) == (0, 4)


def test_a_console_stops_while_readings_run_and_wait(serve: Serve) -> None:
    """It ends the ones, and begins none of the others."""
    source = EndlessEvents()
    served = serve("console.max_days=30000", alerts=[shadow()], events=EventArchive(source, ""))
    served.wait_for(1)
    clients = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(8)]
    for client in clients:
        client.sendall(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for _ in soon():
        if source.active == 4:
            break
    served.stop()
    answers = []
    for client in clients:
        client.settimeout(10)
        answers.append(client.recv(12))
        client.close()
    assert (source.active, source.most) == (0, 4)
    assert b"HTTP/1.1 500" not in answers


def test_others_that_people_looked_at_are_named(tmp_path: Path) -> None:
    """Alerts and groups with a comment, and groups up to where they were acknowledged; not the alert itself."""
    facts = {"event": {"fd.name": "/etc/shadow"}, "output_fields": {}}
    alerts = [found(number, hostname=host, **facts) for number, host in enumerate(("web-3", "web-3", "db-1", "web-3"))]
    view, reader = filled(tmp_path, alerts)
    keys = {each.id: key for each, key in reader.alerts_of_rule("Read sensitive file", 0, 9)}
    group = f"group:{keys[alerts[2].id]}"
    for mark in (
        Mark(f"alert:{alerts[0].id}", f"{COMMENT}/1", "its own", "alice", NOW),
        Mark(f"alert:{alerts[1].id}", f"{COMMENT}/2", "\u202estolen", "alice", NOW),
        Mark(group, ACKNOWLEDGED, str(alerts[2].time), "bob", NOW),
        Mark("group:none", f"{COMMENT}/3", "no such group", "bob", NOW),
    ):
        view.set_marks([mark])
    proposed = written(alerts[0], ("fd.name",), None, NOW)
    decided = decided_alerts(reader, "Read sensitive file", 0)
    rows = exception_json((), proposed, quieted(decided, proposed, alerts[0], 0, lambda: False), Harm((), 0, 0))[
        "marked"
    ]
    assert [(row["subject"], row["count"], row["marks"]) for row in rows] == [
        (f"alert:{alerts[1].id}", 1, ["alice: \\u202estolen"]),
        (group, 1, ["acknowledged by bob"]),
    ]


def _conditions(tuned: dict[str, Any]) -> tuple[Any, ...]:
    return tuple((one["field"], one["operator"], one["value"]) for one in tuned["conditions"])


def test_the_console_offers_what_rules_tune_proposes(serve: Serve) -> None:
    """For recorded alerts of rules with and without exceptions; alerts that no proposal quiets are offered others."""
    names = ("Read sensitive file untrusted", "Network connection of interpreter")
    loaded = load_rules(read_rule_files([RULE_FILES]))
    rules_of_names = [replace(rule, enabled=True) for rule in loaded.rules if rule.name in names]
    evaluator = Evaluator(compile_ruleset(rules_of_names, loaded.macros))
    raised = [each for batch in read_recording(RULE_FILES / "acts.avro") for each in evaluator.replay(batch)]
    now = time.time_ns()
    alerts = [
        replace(each, id=f"{number}-{host}", hostname=f"h{host}", time=now - (number * 5 + host) * 1_000_000)
        for number, each in enumerate(raised)
        for host in range(5)
    ]
    served = serve(f"rules_files=[{RULE_FILES}]", alerts=alerts)
    served.wait_for(len(alerts))

    command = ("rules", "tune", "-r", RULE_FILES, "--console", served.folder / "alerts.db", "--format", "json", "-q")
    done = lanner(*command, "--since", "1d")
    tuned: dict[str, list[Any]] = {}
    all_tuned = json.loads(done.stdout)
    for each in all_tuned:
        tuned.setdefault(each["rule"], []).append((each["exception"], _conditions(each)))
    assert tuned.keys() == {*names}
    offered: dict[str, set[Any]] = {}
    for number, each in enumerate(raised):
        found = served.ask(f"/api/alerts/{number}-0/exception").json
        choices = {choice["field"]: choice for choice in found["choices"]}
        conditions = tuple(tuple(choices[field].values()) for field in found["chosen"])
        own = [name for name, others in tuned[each.rule] if others == conditions]
        if own:
            offered.setdefault(each.rule, set()).add(conditions)
            assert f"- name: {own[0] or 'quiet_'}" in found["text"]
            assert found["quieted"] >= 5
            (harm,) = (one for one in all_tuned if one["rule"] == each.rule and _conditions(one) == conditions)
            assert found["is_harmful"] is not harm["harmless"]
            assert found["proof"].startswith("HARMFUL" if found["is_harmful"] else "Harmless")
    assert {name: {others for _, others in found} for name, found in tuned.items()} == offered
