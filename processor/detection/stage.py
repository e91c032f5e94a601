"""The detect stage without its transport: a message's bytes in, alerts and what goes on to correlation out.

Pure but for the clock that it is given; nothing that it is fed can make it raise.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bus.errors.unavailable import fault_text
from bus.messages.clock_offset import BrokerClock, append_time
from processor.correlation.notices import notice_of
from processor.correlation.pre_match import Notice, PreMatch
from processor.correlation.wire import message_of
from processor.detection.budget import LIMITS, BatchBudget, BatchLimits, OverBudget
from processor.detection.internal_alerts import (
    DUPLICATE_HOST_ID,
    EVENTS_LOST,
    OVER_BUDGET,
    RULE_FAILED,
    TOO_MANY_HOSTS,
    Cause,
)
from processor.detection.repeats import BatchRepeats, RepeatedAlerts
from processor.hosts.clock_skew import AHEAD, BEHIND, CLOCK_SKEW, ClockSkews, dated
from processor.hosts.liveness import HostLiveness
from processor.hosts.reports import HostReports
from processor.hosts.sequence_gaps import DuplicateHosts, Gap, HostSequences
from processor.hosts.tracked import TrackedHosts
from processor.identity.alerts import RejectedBatches
from processor.identity.gate import RejectedMessage
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.codec import BadBatch, decode_batch

_DAY = 86_400 * 10**9
BATCHES_MISSING = "batches_missing"
"""A reason of losses: a host's numbers had a gap. It counts batches."""
REDATED = "events_redated"
"""How many events a host dated outside the bounds."""
_REDATED_TEXT = (
    f"events were dated more than {AHEAD // 10**9} s after the broker took them, or more than {BEHIND // _DAY} days "
    "before: they were evaluated with the nearest time within that"
)
_TOO_MANY_TEXT = (
    "more hosts send events than are kept track of: ids that were new, or silent for long, were forgotten, and gaps "
    "and silences of those are not told; does somebody make ids up?"
)
_MOST_REASONS = 50
_LONGEST_SAMPLED_SECONDS = 0.5
"""A batch that took longer to evaluate is not evaluated once more for the measurement of rules."""
PreMatches = Iterable[tuple[bytes, bytes]]
"""Key and value of what goes to the correlate topic."""


class AlertFinder(Protocol):
    """What finds alerts: the detector, as far as this stage needs it."""

    def process(self, batch: EventBatch, budget: BatchBudget, repeats: BatchRepeats) -> object:
        """Judge all events of a batch; the alerts are the budget's. Raises OverBudget."""


@dataclass(frozen=True, slots=True)
class DetectResult:
    """What one message came to."""

    alerts: tuple[Alert, ...] = ()
    pre_matches: tuple[tuple[bytes, bytes], ...] = ()
    refused: str = ""
    """Why the message belongs with the dead letters; empty where it does not."""
    events: int = 0
    rejected: RejectedMessage | None = None
    """Why the batch is not of the host that it says; None where nothing speaks against it."""


Agree = Callable[[str], RejectedMessage | None]
"""Says why a decoded batch is not of the host whose id it holds."""


def anybody(host_id: str) -> RejectedMessage | None:  # noqa: ARG001  nothing is checked
    """Agree to whatever a batch says."""
    return None


class _Arrival(NamedTuple):
    """How a batch came."""

    partition: int
    appended: int
    """Broker's clock, ms."""
    offset: int
    """What its times were corrected by, ns."""
    redated: int
    """Events whose times were outside the bounds."""


FindPreMatches = Callable[[EventBatch, BatchBudget], PreMatches]
"""Finds what rules with memory have to see, within a budget."""


def _none(batch: EventBatch, budget: BatchBudget) -> PreMatches:  # noqa: ARG001  no rule has memory
    return ()


class DetectStage:
    """The detect stage of one process."""

    def __init__(
        self,
        judge: AlertFinder,
        *,
        clock: Callable[[], float],
        pre_match: FindPreMatches = _none,
        faults: Callable[[], Mapping[str, int]] = dict,
        decode: Callable[[bytes], EventBatch] = decode_batch,
        silence: HostLiveness | None = None,
        limits: BatchLimits = LIMITS,
        repeats: RepeatedAlerts | None = None,
        hosts: TrackedHosts | None = None,
    ) -> None:
        """Put it together.

        Args:
            judge: finds alerts.
            clock: only grows, seconds.
            pre_match: finds what rules with memory have to see.
            faults: by rule, how often judging it raised; they only grow.
            decode: bytes to a checked batch; raises BadBatch.
            silence: when each host was last heard of.
            hosts: which hosts are kept track of.
            limits: what one batch may cost.
            repeats: decides which alerts repeat others; None to send all.
        """
        self.judge = judge
        self.pre_match = pre_match
        self._count_faults = faults
        self.hosts = TrackedHosts() if hosts is None else hosts
        self.sequences = HostSequences()
        self.silence = silence or HostLiveness()
        self._wrong_clocks = ClockSkews()
        self._rejected_batches = RejectedBatches()
        self.reports = HostReports()
        self.events = 0
        self.lost: Counter[str] = Counter()
        """What hosts and gaps told of: by reason, as it came."""
        self.hosts_dropped = 0
        """Hosts of which no track is kept any more, for want of room."""
        self._hosts_told = 0
        self._told_at: dict[int, int] = {}
        self._broker = BrokerClock()
        self.redated = 0
        """Events whose times were outside the bounds and were set to them."""
        self.observe: Callable[[EventBatch], None] = lambda _: None
        """Shown each batch after it was judged; for what is measured on the side."""
        self._clock = clock
        self._decode = decode
        self._limits = limits
        self.repeats = RepeatedAlerts(None) if repeats is None else repeats
        self._faults: dict[str, int] = {}

    def change_rules(
        self,
        judge: AlertFinder,
        *,
        pre_match: FindPreMatches,
        faults: Callable[[], Mapping[str, int]],
        decode: Callable[[bytes], EventBatch],
    ) -> None:
        """Judge by other rules from the next batch on; arguments as at the beginning."""
        self.judge, self.pre_match, self._count_faults, self._decode = judge, pre_match, faults, decode
        self._faults = {}

    def take(
        self,
        partition: int,
        value: bytes | None,
        appended: int,
        offset: int = 0,
        agree: Agree = anybody,
        *,
        is_verified: bool = False,
    ) -> DetectResult:
        """Judge one message of the events topic.

        Args:
            partition: of the events topic.
            value: the message.
            appended: when the broker appended it, ms.
            offset: by how much the broker's clock is ahead of the host's, ns; 0 where they agree.
            agree: says why the batch is not of the host that it says.
            is_verified: whether it proves of which host it is, if that agrees.
        """
        try:
            batch, redated = dated(self._decode(value or b""), append_time(appended), offset)
            self._broker.seen(appended, self._clock())
        except BadBatch as error:
            return DetectResult(refused=f"not decodable: {error}")
        except Exception as error:  # noqa: BLE001  a fault of ours that one message sets off must not stop the others
            return DetectResult(refused=f"not decodable: {fault_text(error)}")
        if (rejected := agree(batch.host_id)) is not None:
            return DetectResult(rejected=rejected)
        batch.is_established = self.hosts.see(partition, batch.host_id, appended, is_verified=is_verified)
        arrival = _Arrival(partition, appended, offset, redated)
        budget = BatchBudget(self._limits)
        repeats = self.repeats.of_batch(batch)
        pre_matches: list[tuple[bytes, bytes]] = []
        refused = ""
        try:
            self.judge.process(batch, budget, repeats)
            pre_matches += self.pre_match(batch, budget)
        except OverBudget as over:
            refused = f"over budget: {over}; {budget.evaluated} of {batch.count} events were evaluated"
        except Exception as error:  # noqa: BLE001  one batch must not stop the others
            refused = f"not judgeable: {fault_text(error)}"
        try:
            pre_matches += map(message_of, repeats.pre_matches())
            pre_matches += self._account(batch, arrival, budget)
        except Exception as error:  # noqa: BLE001  as above
            refused = refused or f"not judgeable: {fault_text(error)}"
        return DetectResult(tuple(budget.alerts), tuple(pre_matches), refused, batch.count)

    def reject(self, rejected: RejectedMessage, place: tuple[str, int, int], appended: int) -> DetectResult:
        """Have a message that is not of the host under whose id it came become a dead letter, and tell of it.

        Args:
            rejected: why.
            place: topic, partition, offset.
            appended: broker's clock, ms.
        """
        broker_time = append_time(appended)
        hostname = self.reports.name(rejected.host_id)
        cause, notice = self._rejected_batches.notice(rejected, place, hostname, broker_time)
        told = message_of(notice_of(cause, notice, appended=broker_time))
        return DetectResult(pre_matches=(told,), refused=f"not verified: {rejected.reason}")

    def recall(
        self, partition: int, value: bytes | None, appended: int, is_of: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Learn a host's last number from a batch that was judged before this process came.

        Args:
            partition: of the events topic.
            value: the message.
            appended: broker's clock, ms.
            is_of: says whether the batch is of the host that it says.
        """
        try:
            batch = self._decode(value or b"")
            self._broker.seen(appended, self._clock())
            if is_of(batch.host_id):
                self.hosts.recall(partition, batch.host_id, appended)
                self._drop_gone()
                if not self.sequences.is_repeat(partition, batch):
                    self.silence.recall(partition, batch, appended)
                self.sequences.see(partition, batch)
        except Exception:  # noqa: BLE001  it was judged by another, who told what was wrong with it
            return

    def broker_time(self) -> int | None:
        """Return what time it is by the broker at least, ms since the epoch; None where no message has told it."""
        return self._broker.now(self._clock())

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that go to another process."""
        for host_id in self.hosts.forget(partitions):
            self._wrong_clocks.drop(host_id)
        self.sequences.forget(partitions)
        self.silence.forget(partitions)
        self.reports.forget(partitions)

    def _account(self, batch: EventBatch, arrival: _Arrival, budget: BatchBudget) -> PreMatches:
        """Take note of what a batch says about its host; what is to be told at once is added to the budget's alerts.

        Returns:
            What is to be summed and told by the correlate stage.
        """
        self.events += batch.total
        if budget.elapsed < _LONGEST_SAMPLED_SECONDS:
            self.observe(batch)
        self.redated += arrival.redated
        # Whoever sends again what a host once sent must not keep up the appearance that it is alive.
        if not self.sequences.is_repeat(arrival.partition, batch):
            self.reports.see(arrival.partition, batch, self._clock())
            budget.alerts += self.silence.see(arrival.partition, batch, arrival.appended)
        notices = [*self._notices(batch, arrival), *_budget_notices(batch, budget)]
        self._drop_gone()
        found = self._too_many_hosts(arrival)
        if notices:
            which = (batch.boot_id, batch.collector_start, batch.sequence)
            cause = Cause(batch.host_id, batch.hostname, batch.created, which)
            known = batch.is_established
            index, appended = batch.first_index, batch.appended
            found += [notice_of(cause, each, index=index, appended=appended, is_established=known) for each in notices]
        return map(message_of, found)

    def _drop_gone(self) -> None:
        """Forget the hosts that had to make room for others."""
        for host_id in self.hosts.take_gone():
            self.hosts_dropped += 1
            for each in (self.sequences, self.silence, self.reports, self._wrong_clocks):
                each.drop(host_id)

    def _too_many_hosts(self, arrival: _Arrival) -> list[PreMatch]:
        fresh = self.hosts_dropped - self._hosts_told
        second = arrival.appended // 1000
        # Once a second: there may be as many as messages.
        if not fresh or second <= self._told_at.get(arrival.partition, 0):
            return []
        self._hosts_told = self.hosts_dropped
        self._told_at[arrival.partition] = second
        cause = Cause("", "", append_time(arrival.appended), ("", arrival.partition, second))
        notice = Notice(TOO_MANY_HOSTS, "Warning", {"hosts_dropped": fresh}, _TOO_MANY_TEXT)
        return [notice_of(cause, notice, appended=cause.time, is_established=True)]

    def _notices(self, batch: EventBatch, arrival: _Arrival) -> list[Notice]:
        lost = {reason: number for reason, number in batch.lost.items() if number > 0}
        found = self.sequences.see(arrival.partition, batch)
        clock = self._wrong_clocks.change(batch.host_id, arrival.offset)
        faults = dict(self._count_faults())
        notices: list[Notice] = []
        text = ""
        if isinstance(found, Gap):
            lost[BATCHES_MISSING] = found.missing
            text = f"batches {found.after + 1} to {found.before - 1} of host {batch.hostname} never came"
        if lost:
            self._count_lost(lost)
            notices.append(Notice(EVENTS_LOST, "Warning", lost, text))
        if isinstance(found, DuplicateHosts):
            text = f"two live hosts send under id {batch.host_id}: boots {found.boots[0]} and {found.boots[1]}"
            if found.boots[0] == found.boots[1]:
                text = f"two collectors run on one host and send under id {batch.host_id}"
            notices.append(Notice(DUPLICATE_HOST_ID, "Warning", {"times": 1}, text))
        if clock or arrival.redated:
            numbers = {"times": int(bool(clock)), REDATED: arrival.redated}
            text = "; ".join(filter(None, (clock, _REDATED_TEXT if arrival.redated else "")))
            notices.append(Notice(CLOCK_SKEW, "Warning", {name: n for name, n in numbers.items() if n}, text))
        if fresh := {rule: n for rule, number in faults.items() if (n := number - self._faults.get(rule, 0)) > 0}:
            self._faults = faults
            notices.append(Notice(RULE_FAILED, "Error", fresh, "rules raised and were passed over"))
        return notices

    def _count_lost(self, lost: Mapping[str, int]) -> None:
        """Count by reason; a host that makes reasons up fills no memory."""
        for reason, number in lost.items():
            self.lost[reason if reason in self.lost or len(self.lost) < _MOST_REASONS else "other"] += number


def _budget_notices(batch: EventBatch, budget: BatchBudget) -> Iterable[Notice]:
    if budget.over:
        text = f"a batch of host {batch.hostname} cost too much: {budget.over}; it is in the dead letters"
        yield Notice(OVER_BUDGET, "Warning", {"events_not_evaluated": batch.count - budget.evaluated}, text)
    elif budget.shortened:
        text = f"batches of host {batch.hostname} make so many bytes of alerts that some went out in short"
        yield Notice(OVER_BUDGET, "Notice", {"alerts_shortened": budget.shortened}, text)
