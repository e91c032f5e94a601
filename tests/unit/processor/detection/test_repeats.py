"""Alerts that repeat others: the first are sent, the others are counted and summed, and none hides another."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.correlation.correlator import Correlator
from processor.detection.detector import Detector
from processor.detection.repeats import RepeatedAlerts, RepeatLimits, Roots
from processor.detection.stage import compile_ruleset
from processor.detection.view import BatchView
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from processor.matching.wire import decode_pre_match, encode_pre_match
from processor.output.redaction import Redaction
from processor.rule import RulesetOptions
from schemas.alert import Alert
from schemas.batch import EventBatch, Process
from tests.unit.processor.batches import INIT, TIME, batch_of
from tests.unit.processor.correlation.rules import rule, ruleset_of

SECOND = 1_000_000_000
PERIOD = 60 * SECOND
READS = rule("evt.type = openat and fd.name startswith /secret", "%proc.name %fd.name", name="Reads")
LIMITS = RepeatLimits(identical_of_process=3, identical=6, of_process=5)
EVERYTHING_AT_ONCE = 10**9


def batch(
    *opens: tuple[int, str],
    sequence: int = 1,
    at: float = 0,
    repeats: int = 0,
    process: Mapping[str, Any] = MappingProxyType({}),
    **head: Any,
) -> EventBatch:
    """Make a batch in which processes, by pid, open files; all of them are named cat, and have these properties."""
    pids = sorted({pid for pid, _ in opens})
    cat = Process(pid=0, ppid=1, name="cat", parent=0)
    rows = [INIT, *(dataclasses.replace(cat, pid=pid, start_time=pid, **process) for pid in pids)]
    time = TIME + round(at * SECOND)
    made = batch_of(
        *(
            {
                "type": "openat",
                "time": time + index,
                "process": 1 + pids.index(pid),
                "fd_name": name,
                "repeats": repeats,
            }
            for index, (pid, name) in enumerate(opens)
        ),
        processes=rows,
        sequence=sequence,
        **head,
    )
    return dataclasses.replace(made, created=time, appended=time + SECOND)


def chrooted(*names: str, root: str = "/host", pid: int = 50, **head: Any) -> EventBatch:
    """Make a batch in which a process opens files whose real names are below a root directory."""
    return linked({name: root + name for name in names}, pid=pid, **head)


def linked(names: Mapping[str, str], *, pid: int = 50, **head: Any) -> EventBatch:
    """Make a batch in which a process opens files by names that lead to real ones."""
    made = batch(*((pid, name) for name in names), **head)
    strings = [*made.strings, *names.values()]
    real = [len(made.strings) + index for index in range(len(names))]
    return dataclasses.replace(made, strings=strings, columns={**made.columns, "fd_realpath": real})


class BothStages:
    """Both stages, as `lanner run` has them."""

    def __init__(self, limits: RepeatLimits | None = LIMITS, text: str = READS) -> None:
        """Begin with the rule on secret files."""
        self.repeats = RepeatedAlerts(limits)
        self._both = Evaluator(ruleset_of(text), self.repeats)

    def take(self, made: EventBatch) -> list[Alert]:
        """Evaluate a batch at the time when it came."""
        return self._both.process(made, made.appended)

    def tick(self, seconds: float) -> list[Alert]:
        """Advance the clock to a time in seconds."""
        return self._both.correlator.tick(TIME + round(seconds * SECOND))

    def finish(self) -> list[Alert]:
        """End all periods."""
        return self._both.correlator.finish()


def test_a_login_under_another_root_gives_one_alert_and_a_count() -> None:
    """The kernel's names of its files match a rule that the requested ones don't."""
    stages = BothStages()
    first = stages.take(chrooted("/etc/passwd", "/etc/profile", "/etc/group", root="/secret"))
    elsewhere = stages.take(chrooted("/etc/passwd", root="/secret-b", at=1, sequence=2))
    summaries = stages.tick(70)

    assert [alert.output_fields["fd.name"] for alert in first] == ["/secret/etc/passwd"]
    assert len(elsewhere) == 1
    assert outputs(summaries) == [
        "REPEATED 2 more times in 1m (fd.name: /secret/etc/profile, /secret/etc/group): cat /secret/etc/profile"
    ]


def test_decoys_under_another_root_hide_neither_a_file_that_the_rule_names_nor_another_process() -> None:
    """A root directory that one process had is not that of another one."""
    named = "evt.type = openat and (fd.name startswith /secret/d or fd.name = /secret/key)"
    stages = BothStages(text=rule(named, "%fd.name", name="Reads"))
    stages.take(chrooted("/d/1", "/d/2", root="/secret"))
    own = stages.take(chrooted("/key", root="/secret", sequence=2, at=1))
    link = stages.take(linked({"/tmp/link": "/secret/key"}, pid=51, sequence=3, at=2))
    other = stages.take(chrooted("/d/3", root="/secret", pid=51, sequence=4, at=3))

    assert outputs([*own, *link, *other]) == ["/secret/key", "/secret/key", "/secret/d/3"]


def test_a_link_is_no_other_root() -> None:
    """Each file that a harmless name hides gives its own alert."""
    assert len(BothStages().take(linked({"/a": "/secret/one", "/b": "/secret/two"}))) == 2


def test_links_below_another_root_are_below_it_too() -> None:
    """There /lib is a link to /usr/lib as well."""
    stages = BothStages()
    stages.take(chrooted("/etc/passwd", root="/secret"))

    assert stages.take(linked({"/lib": "/secret/usr/lib", "/bin": "/secret/usr/bin"})) == []
    assert len(stages.take(linked({"/lib": "/secret2/x"}))) == 1


@pytest.mark.parametrize(
    ("requested", "real", "root"),
    [
        ("/etc/passwd", "/host/etc/passwd", "/host"),
        ("/lib/x.so", "/host/usr/lib/x.so", "/host"),
        ("/bin/x", "/usr/bin/x", ""),
        ("passwd", "/host/etc/passwd", ""),
        ("/x", "/etc/shadow", ""),
        ("/etc/passwd", "", ""),
    ],
)
def test_a_root_is_what_the_two_names_of_a_file_differ_by(requested: str, real: str, root: str) -> None:
    """The links from /bin and /lib into /usr make no root."""
    assert Roots().find(("host", 1, None, None, None, None), requested, real) == root


def test_identical_alerts_beyond_the_first_few_become_one_summary() -> None:
    """Three are sent at once; when the period is over, one alert reports how many more there were."""
    stages = BothStages()
    sent = stages.take(batch(*[(7, "/secret")] * 50))
    assert [alert.output for alert in sent] == ["cat /secret"] * 3

    (summary,) = stages.tick(70)

    assert summary.repeats is not None
    assert (summary.repeats.count, summary.repeats.first_id) == (47, sent[0].id)
    assert (summary.repeats.first, summary.repeats.last) == (TIME, TIME + 49)
    assert summary.output == "REPEATED 47 more times in 1m: cat /secret"
    assert summary.rule == "Reads"
    assert stages.repeats.counted == {"Reads": 47}


def test_a_process_that_repeats_itself_hides_no_other() -> None:
    """Another process' same alert and the flooder's own other alerts are sent."""
    stages = BothStages()
    stages.take(batch(*[(7, "/secret")] * 50))
    assert len(stages.take(batch((8, "/secret"), sequence=2))) == 1
    assert len(stages.take(batch((7, "/secret/2"), sequence=3))) == 1


def test_many_processes_that_report_the_same_are_counted_together() -> None:
    """Using a process for each read does not evade the limit."""
    stages = BothStages()
    sent = stages.take(batch(*((pid, "/secret") for pid in range(10, 60))))
    (summary,) = stages.tick(70)
    assert len(sent) == 6
    assert summary.repeats is not None
    assert summary.repeats.count == 44


def test_a_process_that_reports_much_is_counted_by_itself() -> None:
    """Beyond five different alerts of one process there is one summary for it."""
    stages = BothStages()
    sent = stages.take(batch(*((7, f"/secret/{number}") for number in range(50)), (8, "/secret/x")))
    (summary,) = stages.tick(70)
    assert [alert.output for alert in sent] == [f"cat /secret/{number}" for number in (*range(5), "x")]
    assert summary.repeats is not None
    assert summary.repeats.count == 45


def test_what_a_process_does_after_a_hundred_decoys_is_in_the_summary() -> None:
    """However many decoys it opens before and after: files with one beginning make room for others."""
    stages = BothStages()
    decoys = [f"/secret/decoys/{number}/id_rsa" for number in range(600)]
    bob = "/secret/home/bob/id_rsa"
    for sequence, names in enumerate((decoys[:200], [*decoys[200:300], bob, *decoys[300:400]], decoys[400:])):
        stages.take(batch(*((7, name) for name in names), sequence=sequence))
    (summary,) = stages.tick(70)

    listed = summary.output_fields["fd.name"]
    assert isinstance(listed, tuple)
    assert bob in listed
    assert len(listed) <= 10
    assert summary.output.startswith("REPEATED 596 more times in 1m (fd.name: ")
    assert f" {bob}, " in summary.output
    assert "/secret/decoys/… (" in summary.output
    assert "fd.name" not in summary.event


def test_a_file_that_the_rule_names_is_an_alert_of_its_own_after_any_decoys() -> None:
    """Nobody can make up more names than the rule has."""
    named = rule("evt.type = openat and (fd.name startswith /secret or fd.name in (/key, /keys))", "%fd.name", name="R")
    stages = BothStages(text=named)
    stages.take(batch(*((7, f"/secret/{number}") for number in range(50))))
    found = stages.take(batch(*[(7, "/keys")] * 10, (7, "/secret/50"), (7, "/key"), sequence=2, at=1))

    assert outputs(found) == [*["/keys"] * 3, "/key"]


@pytest.mark.parametrize("process", [{"exec_time": TIME, "exepath": "/usr/bin/other"}, {"uid": 0}, {"loginuid": 1000}])
def test_a_program_that_is_run_or_another_user_begins_anew(process: dict[str, Any]) -> None:
    """A process can't use up what its next program, or a setuid one, may report."""
    stages = BothStages()
    stages.take(batch(*((7, f"/secret/{number}") for number in range(50))))

    assert len(stages.take(batch((7, "/secret/50"), sequence=2, at=1, process=process))) == 1


@pytest.mark.parametrize(
    "process", [{"exepath": "/tmp/cat"}, {"exe": "/bin/cat"}, {"args": ("-n",)}, {"uid": 0}, {"loginuid": 1000}]
)
def test_equal_alerts_of_another_program_or_user_are_not_counted_with_others(process: dict[str, Any]) -> None:
    """Also where the output has neither."""
    stages = BothStages()
    stages.take(batch(*((pid, "/secret") for pid in range(10, 60))))

    assert len(stages.take(batch((70, "/secret"), sequence=2, at=1, process=process))) == 1


def test_equal_names_of_different_files_are_not_counted_together() -> None:
    """A link under a name that the rule looks for can lead anywhere."""
    stages = BothStages()
    stages.take(linked(dict.fromkeys(["/secret/link"], "/data/1")))
    for sequence in range(2, 9):
        stages.take(linked({"/secret/link": "/data/1"}, sequence=sequence))

    assert len(stages.take(linked({"/secret/link": "/etc/shadow"}, sequence=9))) == 1


def test_files_that_the_output_does_not_name_are_not_counted_together() -> None:
    """The rule's author may have had one file in mind."""
    stages = BothStages(text=rule("evt.type = openat and fd.name startswith /secret", "read", name="Reads"))
    stages.take(batch(*[(7, "/secret/1")] * 50))
    assert outputs(stages.take(batch((7, "/secret/2"), sequence=2, at=1))) == ["read"]
    stages.take(batch(*((7, f"/secret/d/{number}") for number in range(50)), sequence=3, at=2))
    found = [alert.output for alert in stages.tick(70)]
    assert found[0] == "REPEATED 47 more times in 1m: read"
    assert found[1].startswith("REPEATED 49 more times in 1m (fd.name: /secret/")


def test_secrets_are_masked_in_what_a_summary_lists() -> None:
    """As in alerts."""
    both = Evaluator(compile_ruleset(rules(), {}, RulesetOptions(redact=Redaction().alert)), RepeatedAlerts(LIMITS))
    made = batch(*((7, f"/secret/x password={number}hunter") for number in range(9)))
    both.process(made, made.appended)
    (summary,) = both.correlator.tick(TIME + 70 * SECOND)

    assert "hunter" not in repr(summary)


def test_a_new_period_begins_with_alerts_again() -> None:
    """A process that continues is reported again, and the former period has its own summary."""
    stages = BothStages()
    stages.take(batch(*[(7, "/secret")] * 10))
    later = stages.take(batch(*[(7, "/secret")] * 10, sequence=2, at=66))
    assert [alert.repeats and alert.repeats.count for alert in later] == [None, None, None, 7]
    assert [alert.repeats and alert.repeats.count for alert in stages.finish()] == [7]


def test_equal_events_that_came_as_one_count_as_many() -> None:
    """What the kernel folded is in the sum."""
    stages = BothStages()
    stages.take(batch(*[(7, "/secret")] * 4, repeats=9))
    (summary,) = stages.tick(70)
    assert summary.repeats is not None
    assert summary.repeats.count == 10


def test_a_batch_that_is_delivered_twice_is_counted_once() -> None:
    """The second time nothing is added."""
    detector, repeats = Detector(rules()), RepeatedAlerts(LIMITS)
    correlator = Correlator(ruleset_of(READS).plan)
    made = batch(*[(7, "/secret")] * 10)
    of_batch = repeats.begin()
    detector.process(BatchView(made), repeats=of_batch)
    (pre_match,) = of_batch.pre_matches()
    assert decode_pre_match(encode_pre_match(pre_match)) == pre_match
    for _ in range(2):
        correlator.process([pre_match], made.appended)
    assert [alert.repeats and alert.repeats.count for alert in correlator.finish()] == [7]
    assert correlator.counts["duplicate"] == 1


def test_what_is_listed_survives_the_wire_and_a_restart() -> None:
    """Also names that are no text."""
    detector, repeats = Detector(rules()), RepeatedAlerts(LIMITS)
    correlator = Correlator(ruleset_of(READS).plan)
    made = batch(*((7, f"/secret/{number}\udcff") for number in range(7)))
    of_batch = repeats.begin()
    detector.process(BatchView(made), repeats=of_batch)
    (pre_match,) = of_batch.pre_matches()
    assert decode_pre_match(encode_pre_match(pre_match)) == pre_match
    correlator.process([pre_match], made.appended)
    other = Correlator(ruleset_of(READS).plan)
    other.restore(correlator.snapshot())
    (summary,) = other.finish()

    assert summary.output_fields["fd.name"] == ("/secret/5\udcff", "/secret/6\udcff")


def test_late_counts_of_a_period_make_a_summary_of_another_id() -> None:
    """Whoever drops alerts by id must not drop them."""
    stages = BothStages()
    stages.take(batch(*[(7, "/secret")] * 10))
    (first,) = stages.tick(67)
    made = dataclasses.replace(batch(*[(7, "/secret")] * 10, sequence=2, at=1), appended=TIME + 50 * SECOND)
    stages._both.process(made, TIME + 70 * SECOND)
    (second,) = stages.finish()
    assert first.repeats is not None
    assert second.repeats is not None
    assert first.repeats.first_id == second.repeats.first_id
    assert first.id != second.id


def test_without_limits_everything_is_sent() -> None:
    """The setting turns it off."""
    assert len(BothStages(None).take(batch(*[(7, "/secret")] * 50))) == 50


def test_what_is_stored_is_bounded() -> None:
    """However many different alerts come, the oldest counts make room."""
    repeats = RepeatedAlerts(LIMITS, max_windows=30)
    detector = Detector(rules())
    for sequence in range(20):
        made = batch(*((pid, f"/secret/{sequence}/{pid}") for pid in range(10, 20)), sequence=sequence)
        assert len(detector.process(BatchView(made), repeats=repeats.begin())) == 10
    assert len(repeats) == 30


def test_a_clock_that_is_set_back_hides_nothing() -> None:
    """A period that would end in the future is over at once."""
    stages = BothStages()
    stages.take(batch(*[(7, "/secret")] * 10, at=EVERYTHING_AT_ONCE))
    assert [alert.output for alert in stages.take(batch((7, "/secret"), sequence=2))] == ["cat /secret"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abcdef"), st.floats(0, 200)), max_size=60))
def test_the_first_of_a_kind_is_always_sent_and_nothing_is_lost(actions: list[tuple[int, str, float]]) -> None:
    """Whatever is repeated in whatever order: what is sent and what is counted come to what was done."""
    stages = BothStages(RepeatLimits(identical_of_process=1, identical=4, of_process=60))
    found: list[Alert] = []
    seen: set[tuple[int, str]] = set()
    sent_of: dict[str, int] = {}
    for sequence, (pid, letter, at) in enumerate(sorted(actions, key=lambda act: act[2])):
        alerts = stages.take(batch((pid, f"/secret/{letter}"), sequence=sequence, at=at))
        whole = [alert for alert in alerts if alert.repeats is None]
        if (pid, letter) not in seen and sent_of.get(letter, 0) < 4:
            assert len(whole) == 1
        seen.add((pid, letter))
        sent_of[letter] = sent_of.get(letter, 0) + len(whole)
        found += alerts
    found += stages.finish()
    counts = [1 if alert.repeats is None else alert.repeats.count for alert in found]
    assert sum(counts) == len(actions)
    assert len({alert.id for alert in found}) == len(found)


def outputs(alerts: Iterable[Alert]) -> list[str]:
    """Return the texts of alerts."""
    return [alert.output for alert in alerts]


def rules() -> list[Any]:
    """Return the rule on secret files as the detector takes it."""
    return list(load_rules([RuleFile("rules", READS)]).rules)
