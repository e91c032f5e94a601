"""What one process retains over a restart, and what replay reports about it."""

from dataclasses import replace
from pathlib import Path

import pytest

from foundation.text import ignore_note
from lanner.commands.state import request_reset
from lanner.known_state.files import reset_file
from lanner.known_state.host import StatefulEvaluator, WallClock
from lanner.recorder.store import StoredBatch
from lanner.settings import Settings
from lanner.wiring.rules import load_detection
from processor.correlation.correlator import Correlator
from processor.detection.view import BatchView
from processor.sessions.sessions import Sessions
from schemas.encoding.batch import encode_batch
from schemas.encoding.recording import RecordingWriter
from tests.notes import into
from tests.unit.lanner.program import lanner
from tests.unit.processor.correlation.rules import NEW_PROGRAM, SECOND, SSH, START, Host, rule, ruleset_of
from tests.unit.processor.sessions import shells


class Clock:
    """The clock of a machine: time passes, and anyone with the right to can set it."""

    def __init__(self, now: float = 0) -> None:
        """Start so many seconds after the start of tests' events."""
        self.passed = round(now * SECOND)
        self.set_by = 0

    def wall(self) -> WallClock:
        """Return what a process that starts now reads."""
        return WallClock(lambda: START + self.passed + self.set_by, lambda: self.passed)

    def pass_by(self, seconds: float) -> None:
        """Advance the time without setting the clock."""
        self.passed += round(seconds * SECOND)


MANY = [SSH, rule("many_ssh_connections", "%correlation.count from %correlation.group")]


def test_windows_outlive_a_restart(tmp_path: Path) -> None:
    """Two connections before it and one after it are three; the file is its owner's alone."""
    host, path, notes = Host(), tmp_path / "state" / "memory", list[str]()
    first = StatefulEvaluator(ruleset_of(*MANY), path, note=into(notes), clock=Clock(1).wall())
    first.process(host.accept(0))
    first.process(host.accept(1))
    first.save()

    second = StatefulEvaluator(ruleset_of(*MANY), path, note=into(notes), clock=Clock(2).wall())

    assert [alert.output for alert in second.process(host.accept(2))] == ["3 from 10.0.0.1"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert notes == []


def test_the_file_is_written_every_five_seconds(tmp_path: Path) -> None:
    """A kill costs what came since."""
    host, path = Host(), tmp_path / "memory"
    memory = StatefulEvaluator(ruleset_of(*MANY), path, note=ignore_note, clock=Clock(1).wall())
    memory.process(host.accept(0))
    memory.advance_to(100.0)
    written = path.read_bytes()

    memory.process(host.accept(1))
    memory.advance_to(104.9)
    assert path.read_bytes() == written
    memory.advance_to(105.0)
    assert path.read_bytes() != written


@pytest.mark.parametrize("has_file", [True, False])
def test_repeats_are_reported_at_the_end_and_counted_on_after_a_restart(tmp_path: Path, has_file: bool) -> None:
    """A stop loses no count, and a start repeats none."""
    rules = ruleset_of(SSH, rule("ssh_connection", "%fd.cip", "suppress: {by: [fd.cip], for: 10m}"))
    host, path, clock = Host(), tmp_path / "memory" if has_file else None, Clock(5)
    first = StatefulEvaluator(rules, path, note=ignore_note, clock=clock.wall())
    assert len(first.process(host.accept(1))) == 1
    for at in (2, 3):
        assert first.process(host.accept(at)) == []

    (summary,) = first.flush()
    assert summary.output == "REPEATED 2 more times so far: 10.0.0.1"
    assert summary.repeats is not None
    assert (summary.time, summary.repeats.count) == (START + 3 * SECOND, 2)
    second = StatefulEvaluator(rules, path, note=ignore_note, clock=clock.wall())
    assert len(second.process(host.accept(4))) == (0 if has_file else 1)
    assert [alert.output for alert in second.flush()] == (["REPEATED 1 more time so far: 10.0.0.1"] if has_file else [])


YEARS = 30 * 365 * 86_400
"""In seconds."""


class Machine:
    """A machine that runs Lanner: its clock stamps its events, and can be set; its runs share one file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.clock = clock
        self.path = path
        self.notes: list[str] = []
        self.host = Host()
        self.begin()

    def begin(self) -> None:
        """Start Lanner, again."""
        self.memory = StatefulEvaluator(ruleset_of(*MANY), self.path, note=into(self.notes), clock=self.clock.wall())

    def connect(self) -> list[str]:
        """Make someone connect, and return the outputs of the alerts."""
        seconds = (self.clock.passed + self.clock.set_by) / SECOND
        return [alert.output for alert in self.memory.process(self.host.accept(seconds))]

    def wait(self, seconds: int) -> list[str]:
        """Advance the time, with a tick each second as usual, and return the outputs of the alerts."""
        found = []
        for _ in range(seconds):
            self.clock.pass_by(1)
            found += [alert.output for alert in self.memory.advance_to(self.clock.passed / SECOND)]
        return found


@pytest.mark.parametrize("step", [YEARS, -YEARS, 3600, -3600])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_silences_nothing(tmp_path: Path, step: int, restarts: bool) -> None:
    """Set while Lanner runs, windows and repeats move along with it; set between two runs, they end no later."""
    machine = Machine(tmp_path / "memory", Clock())
    said = [machine.connect() for _ in range(4)]
    assert said == [[], [], ["3 from 10.0.0.1"], []]
    machine.wait(5)

    machine.clock.set_by += step * SECOND
    if restarts:
        machine.memory.save()
        machine.begin()
    else:
        assert machine.connect() == []

    summary = f"REPEATED {1 if restarts else 2} more time{'' if restarts else 's'} in 1m: 3 from 10.0.0.1"
    assert machine.wait(75) == [summary]
    assert [machine.connect() for _ in range(3)] == [[], [], ["3 from 10.0.0.1"]]
    assert machine.memory.correlator.counts.total() == 0
    assert bool(machine.notes) is not restarts


def test_a_clock_that_jumps_at_every_start_silences_nothing(tmp_path: Path) -> None:
    """Its battery is flat: each start is in 1996 until NTP sets the clock."""
    machine = Machine(tmp_path / "memory", Clock())
    alerts = 0
    for _ in range(5):
        machine.clock.set_by = -YEARS * SECOND
        machine.begin()
        alerts += sum(len(machine.connect()) for _ in range(3))
        machine.clock.set_by = 0
        said = [machine.connect(), *([each] for each in machine.wait(90))]
        assert sum("REPEATED" in str(each) for each in said) == 1
        machine.memory.save()

    assert alerts == 5


def test_a_file_of_a_clock_that_was_ahead_ends_in_time(tmp_path: Path) -> None:
    """A release before this one stored the greatest time that it ever saw."""
    path, clock = tmp_path / "memory", Clock()
    correlator = Correlator(ruleset_of(*MANY).plan)
    for number in range(4):
        view = BatchView(Host(f"web-{number}").accept(number))
        correlator.process(ruleset_of(*MANY).pre_matcher.process(view), START)
    correlator.shift(YEARS * SECOND)
    path.write_bytes(correlator.snapshot())

    machine = Machine(path, clock)

    assert machine.wait(75) == ["REPEATED 1 more time in 1m (evt.hostname: web-3): 3 from 10.0.0.1"]
    assert [machine.connect() for _ in range(3)][-1] == ["3 from 10.0.0.1"]


def test_a_damaged_file_is_reported_and_replaced(tmp_path: Path) -> None:
    """Detection goes on without what it held."""
    path, notes = tmp_path / "memory", list[str]()
    path.write_bytes(b"rubbish")

    memory = StatefulEvaluator(ruleset_of(*MANY), path, note=into(notes))
    memory.save()

    assert [note.removeprefix(str(path)) for note in notes] == [
        ": too short for window state; windows and repeats start empty."
    ]
    assert StatefulEvaluator(ruleset_of(*MANY), path, note=into(notes)).lost == {}
    assert len(notes) == 1


def test_a_file_that_cannot_be_written_is_reported_once(tmp_path: Path) -> None:
    """Each five seconds would be too often."""
    (tmp_path / "file").touch()
    notes = list[str]()
    memory = StatefulEvaluator(ruleset_of(*MANY), tmp_path / "file" / "memory", note=into(notes))

    memory.save()
    memory.save()

    assert len([note for note in notes if "cannot be written" in note]) == 1


def test_rules_without_memory_leave_no_file(tmp_path: Path) -> None:
    """There is nothing to keep."""
    memory = StatefulEvaluator(ruleset_of(rule("evt.type = connect")), tmp_path / "memory", note=ignore_note)

    memory.save()

    assert list(tmp_path.iterdir()) == []


def test_replay_gives_the_alerts_and_the_open_summaries(tmp_path: Path) -> None:
    """A recording's events are the clock, and its end ends all periods."""
    host, rules, recording = Host(), tmp_path / "rules.yaml", tmp_path / "events.avro"
    rules.write_text("".join(MANY), encoding="utf-8")
    writer = RecordingWriter(recording)
    for second in range(5):
        writer.write(encode_batch(host.accept(second)))
    writer.close()

    ran = lanner("replay", recording, "--rules", rules, "-q")

    assert (ran.returncode, ran.stderr) == (0, "")
    reported = [line.split(" Notice ", 1)[1] for line in ran.stdout.splitlines()]
    assert [line.split(" container_id", 1)[0] for line in reported] == [
        "3 from 10.0.0.1",
        "REPEATED 2 more times in 1m: 3 from 10.0.0.1",
    ]


def test_a_variable_that_a_group_names_leaves_the_host(tmp_path: Path) -> None:
    """No condition or output names it, and still it is needed; no other does."""
    rules = tmp_path / "rules.yaml"
    text = SSH.replace("group-by: [fd.cip]", "group-by: ['proc.env[SSH_CLIENT]']")
    rules.write_text(text + rule("many_ssh_connections"), encoding="utf-8")
    settings = Settings(rules_files=(str(rules),))

    assert load_detection(settings).variables == {"SSH_CLIENT"}
    assert load_detection(settings).pushdown_filter.variables == {"SSH_CLIENT"}
    rules.write_text(SSH + rule("many_ssh_connections"), encoding="utf-8")
    assert not load_detection(settings).variables


NEW = [NEW_PROGRAM, rule("new_program", "new %proc.name", name="New")]


def test_known_values_outlive_a_restart_and_are_written_one_by_one(tmp_path: Path) -> None:
    """Each save appends what is new, and a record that was cut off costs only itself."""
    host, path, clock, notes = Host(), tmp_path / "memory", Clock(0), list[str]()
    first = StatefulEvaluator(ruleset_of(*NEW), path, note=into(notes), clock=clock.wall())
    values = tmp_path / "memory.values"
    for process in ("sh", "curl"):
        first.process(host.run(0, process))
    first.save()
    size = values.stat().st_size
    first.save()
    assert values.stat().st_size == size
    clock.pass_by(3600)
    assert [alert.output for alert in first.process(host.run(3600))] == ["new evil"]
    first.save()
    assert size < values.stat().st_size < 2 * size
    assert values.stat().st_mode & 0o777 == 0o600
    values.write_bytes(values.read_bytes()[:-1])

    clock.pass_by(200)
    second = StatefulEvaluator(ruleset_of(*NEW), path, note=into(notes), clock=clock.wall())
    assert second.process(host.run(3800, "sh")) == []
    assert [alert.output for alert in second.process(host.run(3800))] == ["new evil"]
    second.save()
    third = StatefulEvaluator(ruleset_of(*NEW), path, note=into(notes), clock=clock.wall())
    assert third.process(host.run(3800)) == []
    assert notes == []


def test_known_values_move_with_a_clock_that_was_ahead(tmp_path: Path) -> None:
    """They were written in the future: they stay known, and learning ends when it would have."""
    host, path, clock = Host(), tmp_path / "memory", Clock(0)
    clock.set_by = YEARS * SECOND
    first = StatefulEvaluator(ruleset_of(*NEW), path, note=ignore_note, clock=clock.wall())
    first.process(host.run(YEARS, "sh"))
    first.save()
    clock.set_by = 0
    clock.pass_by(60)

    second = StatefulEvaluator(ruleset_of(*NEW), path, note=ignore_note, clock=clock.wall())
    assert second.process(host.run(60, "curl")) == []
    clock.pass_by(3600)
    assert second.process(host.run(3660, "sh")) == []
    assert [alert.output for alert in second.process(host.run(3660))] == ["new evil"]


def test_a_damaged_file_of_values_is_reported(tmp_path: Path) -> None:
    """Macros learn again."""
    path, notes = tmp_path / "memory", list[str]()
    (tmp_path / "memory.values").write_bytes(b"nonsense")
    memory = StatefulEvaluator(ruleset_of(*NEW), path, note=into(notes), clock=Clock(0).wall())

    assert len(memory.correlator.sightings) == 0
    assert "memory.values: not known values, or of another version; macros of type first_seen learn again." in notes[0]


def test_macros_that_know_nothing_learn_from_the_recording(tmp_path: Path) -> None:
    """Known values aren't new although Lanner has just started, and learning is over; others go on."""
    host, path, clock = Host(), tmp_path / "memory", Clock(7200)
    memory = StatefulEvaluator(ruleset_of(*NEW), path, note=ignore_note, clock=clock.wall())
    recorded = []
    for at, process in ((0, "sh"), (100, "curl"), (5000, "sh")):
        batch = host.run(at, process)
        batch.created, batch.watched = START + at * SECOND, ("execve",)
        recorded.append(StoredBatch(batch, batch.created // 1_000_000))
    memory.begin_learning(lambda: iter(recorded))
    assert memory.process(host.run(7200)) == []
    memory.learn(10)

    assert [memory.process(host.run(7201, process)) for process in ("sh", "curl", "evil")] == [[], [], []]
    fresh = StatefulEvaluator(ruleset_of(*NEW), None, note=ignore_note, clock=clock.wall())
    fresh.begin_learning(lambda: iter(recorded))
    fresh.learn(10)
    assert [alert.output for alert in fresh.process(host.run(7202))] == ["new evil"]
    memory.begin_learning(lambda: iter([]))
    assert memory._learner is None


def test_a_reset_is_taken_with_the_next_save(tmp_path: Path) -> None:
    """A value is new again; an invalid request is dropped."""
    host, path, clock = Host(), tmp_path / "memory", Clock(0)
    rules = ruleset_of(*NEW)
    memory = StatefulEvaluator(rules, path, note=ignore_note, clock=clock.wall())
    memory.process(host.run(0, "sh"))
    memory.save()
    (macro,) = rules.plan.macros
    settings = Settings(memory=replace(Settings().memory, filename=str(path)))
    request_reset(settings, macro, ("3d09256ebd53",), '["sh","/tmp/sh"]')
    with reset_file(path).open("a") as file:
        file.write("nonsense\n")
    memory.save()

    clock.pass_by(3600)
    assert not reset_file(path).exists()
    assert [alert.output for alert in memory.process(host.run(3600, "sh"))] == ["new sh"]
    request_reset(settings, macro, None, None)
    memory.save()
    assert len(memory.correlator.sightings) == 0


def test_people_who_requested_a_shell_are_named(tmp_path: Path) -> None:
    """The audit event comes first, by the clock of this machine."""
    rules = ruleset_of(rule("evt.type = execve and proc.name = sh"))
    wall = Clock((shells.START - START) / SECOND + 2).wall()
    memory = StatefulEvaluator(rules, tmp_path / "memory", note=ignore_note, clock=wall, sessions=Sessions())

    memory.process(shells.requested(0))
    (alert,) = memory.process(shells.started(1))

    assert alert.output_fields["session.user"] == "eve"


def test_people_are_named_after_a_restart(tmp_path: Path) -> None:
    """Whose process it is, and requests whose process has not started yet."""
    rules = ruleset_of(rule("proc.name = sh"))
    wall = Clock((shells.START - START) / SECOND + 2).wall()

    def run() -> StatefulEvaluator:
        return StatefulEvaluator(rules, tmp_path / "memory", note=ignore_note, clock=wall, sessions=Sessions())

    before = run()
    before.process(shells.requested(0))
    before.process(shells.started(1))
    before.process(shells.requested(1, "sh", "-c", "id", user="bob"))
    before.save()
    after = run()
    (first,) = after.process(shells.started(60, depth=2))
    (second,) = after.process(shells.started(2, "sh", "-c", "id", pid=11))

    assert (first.output_fields["session.user"], second.output_fields["session.user"]) == ("eve", "bob")
