"""Tests of each transition of the rollout of rules, and of the actions that it makes the shell perform."""

from collections.abc import Sequence

import pytest

from bus.topics import PROCESSORS, PUSHDOWN_FILTERS
from processor.fleet.rules.actions import (
    FILES,
    FILTER_UNUSABLE,
    RULES_REFUSED,
    Action,
    Activate,
    Close,
    Compile,
    Failed,
    Note,
    Offer,
    ReportChange,
    RulesInUse,
    Send,
    SendAlert,
    Support,
)
from processor.fleet.rules.machine import (
    KEEP_SECONDS,
    MAX_FILTERS,
    REPAIR_SECONDS,
    REPORT_SECONDS,
    SETTLE_SECONDS,
    Agreed,
    Mixed,
    Now,
    RolloutMachine,
    Settled,
    Waiting,
)
from processor.fleet.rules.peers import MAX_PEERS, MAX_REPORT_BYTES, REPORTED, STALE_MS, Peers, Report, read_report
from processor.hosts.tracked import HostReports
from processor.splitting import Plan, merged
from tests.unit.processor.batches import batch_of
from tests.unit.processor.correlation.rules import SECOND, START
from tests.unit.processor.fleet.rules.versions import version

ONE, TWO, THREE = version(1), version(2), version(3)
KEYS = {each.version.encode(): each.encoded_filter for each in (ONE, TWO, THREE)}
WAIT = 30.0


class Rollout:
    """The machine of processor m, with a clock that only tests advance."""

    def __init__(self, in_use: RulesInUse = ONE, former: dict[str, Plan] | None = None) -> None:
        self.hosts = HostReports()
        self.passed = 0.0
        self.costs: dict[str, float] = {}
        self.machine = RolloutMachine(
            in_use,
            self.hosts,
            former=former or {},
            prefix="p.",
            worker="m",
            wait_seconds=WAIT,
            wall=START,
            costs=lambda: self.costs,
        )
        self.machine.take_end()

    @property
    def now(self) -> Now:
        """The time."""
        return Now(1000 + self.passed, START + round(self.passed * SECOND))

    def step(self, seconds: float = 0.25) -> list[Action]:
        """Advance the time, and return the actions of one step."""
        self.passed += seconds
        return self.machine.step(self.now)

    def offer(self, fresh: RulesInUse) -> list[Action]:
        """Publish and compile a version, and return the actions."""
        self.machine.take_offer(offer := Offer(b"value", 5, fresh.offset))
        assert self.machine.consider() == [Compile(offer)]
        return self.machine.compiled(offer, fresh, self.now)

    def peer(self, worker: str, active: RulesInUse, *ready: RulesInUse, age: float = 0) -> None:
        """Receive the report of another processor, so many seconds old."""
        report = Report(worker, active.version, tuple(each.version for each in (active, *ready)))
        self.machine.take_report(worker.encode(), report.encoded(), self.now.wall // 1_000_000 - round(age * 1000))

    def host(self, name: str, applied: str) -> None:
        """Receive a batch of a host that applies the filters of these versions."""
        batch = batch_of({"type": "open"}, host_id=name, hostname=name)
        batch.interest_version = applied
        self.hosts.see(0, batch, self.now.monotonic)

    def settle(self) -> None:
        """Advance the time to when the state of old versions is dropped."""
        self.step()
        self.step(KEEP_SECONDS)
        assert self.machine.state == Settled()


def sent(actions: Sequence[Action], topic: str) -> dict[bytes, bytes | None]:
    """Return the messages for a topic, by key."""
    return {each.key: each.value for each in actions if isinstance(each, Send) and each.topic == topic}


def reported(actions: Sequence[Action]) -> Report | None:
    """Return the report about this processor."""
    return read_report(sent(actions, PROCESSORS).get(b"m") or b"")


def test_all_known_versions_are_supported_from_the_start() -> None:
    """Others may evaluate former versions, and state of unknown ones is retained."""
    rollout = Rollout(ONE, {TWO.version: TWO.ruleset.plan})

    both = merged([TWO.ruleset.plan, ONE.ruleset.plan])
    assert rollout.machine.support_all() == Support(both, is_settled=False)
    assert rollout.machine.state == Mixed()


def test_nothing_happens_before_the_topics_are_read() -> None:
    """A processor that does not know the others must not report or delete anything."""
    machine = RolloutMachine(ONE, HostReports(), former={}, prefix="", worker="m", wait_seconds=WAIT, wall=START)
    machine.take_offer(Offer(b"", 0, 9))

    assert machine.consider() == []
    assert machine.step(Now(1000, START)) == []
    machine.take_end()
    assert machine.consider() == [Compile(Offer(b"", 0, 9))]
    assert machine.consider() == []
    assert machine.step(Now(1000, START))


def test_only_the_newest_offer_is_compiled() -> None:
    """The active version and older ones are in the topic as well."""
    rollout = Rollout(TWO)
    for offset in (1, 2):
        rollout.machine.take_offer(Offer(b"", 0, offset))
    assert rollout.machine.consider() == []

    for offset in (3, 4):
        rollout.machine.take_offer(Offer(b"", 0, offset))
    assert rollout.machine.consider() == [Compile(Offer(b"", 0, 4))]


def test_deleted_rules_change_nothing() -> None:
    """The active version stays, which is printed."""
    rollout = Rollout()
    rollout.machine.take_offer(Offer(None, 0, 9))

    assert rollout.machine.consider() == [
        Note(f"the published rules were deleted; version {ONE.version} stays active.")
    ]
    assert rollout.machine.in_use is ONE


def test_a_compiled_version_is_supported_while_it_waits() -> None:
    """The correlate stage supports both versions, and the report contains the hosts that are waited for."""
    rollout = Rollout()
    rollout.settle()
    rollout.host("web", ONE.version)

    actions = rollout.offer(TWO)
    assert actions == [Support(merged([ONE.ruleset.plan, TWO.ruleset.plan]), is_settled=False)]
    assert rollout.machine.state == Waiting(TWO, rollout.now.monotonic)

    report = reported(rollout.step())
    assert report is not None
    assert (report.active, report.waiting, report.lagging) == (ONE.version, TWO.version, ("web",))
    assert set(report.ready) == {ONE.version, TWO.version}
    assert report.hosts == {ONE.version: 1}


def test_a_newer_version_replaces_the_waiting_one() -> None:
    """It stays supported, since another processor may have switched to it; its host names are no longer resolved."""
    rollout = Rollout()
    rollout.host("web", ONE.version)
    rollout.offer(TWO)

    plans = [ONE.ruleset.plan, TWO.ruleset.plan, THREE.ruleset.plan]
    assert rollout.offer(THREE) == [Close(TWO), Support(merged(plans), is_settled=False)]
    assert rollout.machine.state == Waiting(THREE, rollout.now.monotonic)


@pytest.mark.parametrize("is_waiting", [False, True])
def test_an_older_version_is_refused(is_waiting: bool) -> None:
    """Whether the newer one is active or waits: with its signature, anybody who may write could replay it."""
    rollout = Rollout(ONE if is_waiting else THREE)
    if is_waiting:
        rollout.host("web", ONE.version)
        rollout.offer(THREE)
    before = rollout.machine.state

    closed, note, alert = rollout.machine.compiled(Offer(b"value", 5, 9), TWO, rollout.now)

    assert closed == Close(TWO)
    assert isinstance(note, Note)
    assert f"version {TWO.version} is older than {THREE.version}; publish its files again to go back" in note.text
    assert isinstance(alert, SendAlert)
    assert rollout.machine.state == before


def test_a_refused_version_leaves_the_active_one() -> None:
    """The alert has the message's own time, and the reason stays in the report until a version is accepted."""
    rollout = Rollout()
    note, alert = rollout.machine.refused(Offer(b"value", 5, 9), "bad key")

    assert note == Note(f"rules refused: bad key. Version {ONE.version} stays active.", "error")
    assert isinstance(alert, SendAlert)
    assert (alert.alert.rule, alert.alert.time) == (RULES_REFUSED, 5_000_000)
    assert (rollout.machine.in_use, rollout.machine.state) == (ONE, Mixed())
    report = reported(rollout.step())
    assert report is not None
    assert report.refused == "bad key"

    rollout.offer(TWO)
    report = reported(rollout.step())
    assert report is not None
    assert report.refused == ""


def test_detection_switches_once_all_are_ready() -> None:
    """Every live host must apply the new filter, and every live processor support the version."""
    rollout = Rollout()
    rollout.host("web", ONE.version)
    rollout.peer("x", ONE)
    rollout.offer(TWO)
    assert not [each for each in rollout.step() if isinstance(each, Activate)]
    rollout.host("web", f"{ONE.version}+{TWO.version}")
    assert not [each for each in rollout.step() if isinstance(each, Activate)]
    rollout.peer("x", ONE, TWO)

    actions = rollout.step()

    assert actions[0] == Activate(TWO, ONE)
    assert (rollout.machine.in_use, rollout.machine.state) == (TWO, Mixed())
    (change,) = (each for each in actions if isinstance(each, ReportChange))
    assert actions[1] == Note(change.alert.output)
    assert change.version == TWO.version
    assert change.alert.output_fields["rules.previous"] == ONE.version
    assert "~ rule Found: output changed" in change.alert.output
    report = reported(actions)
    assert report is not None
    assert (report.active, report.waiting, report.since) == (TWO.version, "", rollout.now.wall)


def test_detection_switches_after_the_timeout() -> None:
    """Those that are not ready are named, the first twenty of them."""
    rollout = Rollout()
    rollout.peer("x", ONE)
    rollout.offer(TWO)
    rollout.step(WAIT - 1)
    assert rollout.machine.in_use is ONE
    rollout.passed += 1
    for number in range(25):
        rollout.host(f"web-{number:02}", ONE.version)
    rollout.peer("x", ONE)

    warning, activated = rollout.step(0)[:2]

    assert activated == Activate(TWO, ONE)
    assert isinstance(warning, Note)
    assert warning.level == "warning"
    assert warning.text.startswith(f"version {TWO.version} becomes active although not all are ready for it: ")
    assert "host web-00, host web-01" in warning.text
    assert "host web-19 and 6 more." in warning.text


def test_dead_processors_are_not_waited_for() -> None:
    """Neither before a switch nor before the state of old versions is dropped."""
    rollout = Rollout()
    rollout.peer("x", ONE, age=31)
    rollout.offer(TWO)

    assert rollout.step()[0] == Activate(TWO, ONE)
    assert rollout.machine.state == Agreed(rollout.now.monotonic)


def test_a_change_is_reported_until_it_is_known() -> None:
    """Any processor may report it, and both alerts would have the same id."""
    rollout = Rollout()
    first, second = (next(each for each in rollout.step() if isinstance(each, ReportChange)) for _ in range(2))
    assert (first.version, first.alert.id) == (ONE.version, second.alert.id)

    rollout.machine.mark_reported(ONE.version)
    assert not [each for each in rollout.step() if isinstance(each, ReportChange)]
    rollout.offer(TWO)
    assert [each for each in rollout.step() if isinstance(each, ReportChange)]
    rollout.machine.take_report(REPORTED, TWO.version.encode(), 0)
    assert not [each for each in rollout.step() if isinstance(each, ReportChange)]


def test_rules_from_files_are_no_change() -> None:
    """They have no version, and no filter to publish."""
    actions = Rollout(version(1, files=True)).step()

    report = reported(actions)
    assert report is not None
    assert report.active == FILES
    assert len(actions) == 1


def test_filters_of_the_own_versions_are_published() -> None:
    """That of the waiting version too; an overwritten one is published again, an equal one is left."""
    rollout = Rollout()
    one, two = ONE.version.encode(), TWO.version.encode()
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {one: KEYS[one]}
    rollout.host("web", ONE.version)
    rollout.offer(TWO)
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {two: KEYS[two]}
    rollout.machine.take_filter(one, KEYS[one])
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {}
    rollout.machine.take_filter(one, b"other")
    rollout.machine.take_filter(two, None)
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {one: KEYS[one], two: KEYS[two]}


def test_an_unusable_filter_is_reported_once() -> None:
    """By its key, which anybody can write; once it is repaired, it is reported again."""
    rollout = Rollout()
    for _ in range(2):
        rollout.machine.take_filter(ONE.version.encode(), b"junk")
        actions = rollout.step()
        (alert,) = (each.alert for each in actions if isinstance(each, SendAlert))
        assert (alert.rule, alert.time) == (FILTER_UNUSABLE, rollout.now.wall)
    rollout.machine.take_filter(b"x", b"junk")
    rollout.peer("x", TWO)
    alerts = [each for _ in range(3) for each in rollout.step() if isinstance(each, SendAlert)]
    assert len(alerts) == 1


def test_the_first_processor_repairs_for_all() -> None:
    """Processor a is before m; once it is dead, m is the first."""
    rollout = Rollout()
    rollout.peer("a", ONE)
    rollout.peer("z", ONE)
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {}
    assert sent(rollout.step(31), PUSHDOWN_FILTERS) == {ONE.version.encode(): ONE.encoded_filter}


def test_a_report_is_sent_when_it_changes_and_every_five_seconds() -> None:
    """Others take a processor for dead that sends none."""
    rollout = Rollout()
    assert reported(rollout.step())
    assert not reported(rollout.step(REPORT_SECONDS - 1))
    assert reported(rollout.step(1))
    rollout.host("web", "*")
    assert not reported(rollout.step(0.125))
    assert reported(rollout.step(0.125))


def test_a_report_has_the_most_expensive_rules() -> None:
    """Costs always grow, so they alone are no reason to report earlier."""
    rollout = Rollout()
    rollout.step()
    rollout.costs = {f"rule {number}": number / 10 for number in range(300)}
    assert reported(rollout.step(REPORT_SECONDS - 1)) is None
    report = reported(rollout.step(1))
    assert report is not None
    assert list(report.seconds.items())[:2] == [("rule 299", 29.9), ("rule 298", 29.8)]
    assert len(report.seconds) == 200


def test_old_state_is_dropped_a_minute_after_all_agree() -> None:
    """Pre-matches of the old version may be in flight until then."""
    rollout = Rollout()
    rollout.peer("x", ONE, TWO)
    rollout.offer(TWO)
    rollout.step()
    assert rollout.machine.state == Mixed()
    rollout.peer("x", TWO)
    rollout.step()
    assert rollout.machine.state == Agreed(since := rollout.now.monotonic)
    for _ in range(2):
        rollout.passed += KEEP_SECONDS / 2 - 1
        rollout.peer("x", TWO)
        rollout.step(0)
    assert rollout.machine.state == Agreed(since)

    rollout.passed += 2
    rollout.peer("x", TWO)
    actions = rollout.step(0)

    assert Support(TWO.ruleset.plan, is_settled=True) in actions
    assert rollout.machine.state == Settled()
    report = reported(rollout.step())
    assert report is not None
    assert report.ready == (TWO.version,)


def test_a_processor_without_other_versions_settles_sooner() -> None:
    """After the time in which every other processor has reported."""
    rollout = Rollout()
    rollout.step()
    rollout.step(SETTLE_SECONDS - 1)
    assert isinstance(rollout.machine.state, Agreed)
    rollout.step(1)
    assert rollout.machine.state == Settled()


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_processor_with_another_version_ends_the_agreement(is_settled: bool) -> None:
    """State of unknown versions is retained from then on, and the time starts again."""
    rollout = Rollout()
    rollout.step()
    if is_settled:
        rollout.settle()
    rollout.peer("x", TWO)

    supported = [each for each in rollout.step() if isinstance(each, Support)]

    assert supported == ([Support(merged([ONE.ruleset.plan]), is_settled=False)] if is_settled else [])
    assert rollout.machine.state == Mixed()
    rollout.peer("x", ONE)
    rollout.step()
    assert rollout.machine.state == Agreed(rollout.now.monotonic)


def test_filters_of_old_versions_are_deleted_once_all_agree() -> None:
    """Those of newer versions stay: another processor may have published one just now."""
    rollout = Rollout(TWO)
    for key in (*KEYS, b"junk"):
        rollout.machine.take_filter(key, KEYS.get(key, b""))
    rollout.peer("x", ONE)
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {}
    rollout.peer("x", TWO)
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {ONE.version.encode(): None, b"junk": None}
    assert sent(rollout.step(), PUSHDOWN_FILTERS) == {}


def test_reports_of_dead_processors_are_deleted() -> None:
    """Long after they died, and by the first processor."""
    rollout = Rollout()
    rollout.peer("x", TWO, age=STALE_MS / 1000)
    rollout.peer("y", TWO, age=STALE_MS / 1000 - 1)

    assert sent(rollout.step(), PROCESSORS).keys() == {b"m", b"x"}


def test_a_part_of_a_step_that_fails_does_not_block_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others wait for the report."""
    rollout, problem = Rollout(), KeyError("bug")

    def fails(_: bytes) -> str:
        raise problem

    monkeypatch.setattr("processor.fleet.rules.machine._why_unusable", fails)
    rollout.machine.take_filter(b"x", b"junk")
    actions = rollout.step()

    assert Failed(problem) in actions
    assert reported(actions)


def test_the_end_is_reported_to_the_others() -> None:
    """Both versions stop resolving host names."""
    rollout = Rollout()
    assert rollout.machine.finish() == [Send(PROCESSORS, b"m", None), Close(ONE)]
    rollout.host("web", ONE.version)
    rollout.offer(TWO)
    assert rollout.machine.finish() == [Send(PROCESSORS, b"m", None), Close(ONE), Close(TWO)]


def test_a_processor_that_exists_in_its_report_alone_keeps_nobody_from_repairing_filters() -> None:
    """The one that would do it has five seconds; then the others do."""
    rollout = Rollout(ONE)
    rollout.step()
    rollout.peer("", ONE)
    rollout.machine.take_filter(ONE.version.encode(), b"{}")
    assert not sent(rollout.step(), PUSHDOWN_FILTERS)
    rollout.peer("", ONE, age=-10)
    assert sent(rollout.step(REPAIR_SECONDS), PUSHDOWN_FILTERS) == {ONE.version.encode(): ONE.encoded_filter}


def test_filters_and_reports_of_strangers_take_little_room() -> None:
    """However many there are, and whatever their numbers are."""
    rollout = Rollout(ONE)
    for number in range(200):
        rollout.machine.take_filter(b"%d" % number, bytes(1000))
    assert len(rollout.machine._filters) == MAX_FILTERS
    assert read_report(b" " * MAX_REPORT_BYTES + b"{}") is None
    numbers = b'"since":1e999,"rules":1,"waiting":"","lagging":[],"refused":"","hosts":{}'
    assert read_report(b'{"worker":"w","active":"","ready":[],%b}' % numbers) is None
    peers = Peers()
    for number in range(MAX_PEERS + 10):
        peers.take(b"%d" % number, Report("w", "v").encoded(), 0)
    assert len(peers.live(0)) == MAX_PEERS
