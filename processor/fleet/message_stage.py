"""The detect stage of a fleet, without Kafka: a message's bytes in, alerts and correlation messages out.

It decodes a message, corrects its times, tracks its host, and passes the batch to the detect stage that `lanner run`
uses as well. Pure but for the clock that it is given. No message can make it raise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from bus.connection import fault_text
from bus.messages import AHEAD, BEHIND, TOLERATED, BrokerClock, append_time
from processor.detection.budget import LIMITS, Budget, BudgetLimits, OverBudget
from processor.detection.repeats import RepeatedAlerts
from processor.detection.stage import CompiledRuleset, DetectStage
from processor.detection.view import BatchView
from processor.hosts.arrival import CLOCK_SKEW, ClockSkews, PodRecords, dated
from processor.hosts.identity import RejectedBatches, RejectedMessage
from processor.hosts.liveness import HostLiveness
from processor.hosts.sequences import DuplicateHosts, EvaluatedBatches, Gap, HostSequences, QuietHost, ReplayCounts
from processor.hosts.tracked import HostReports, TrackedHosts
from processor.matching.packing import MESSAGES_PER_SECOND, PreMatchPacker
from processor.matching.pre_match import Notice, PreMatch, notice_of
from processor.matching.wire import message_of
from processor.output.internal_alerts import DUPLICATE_HOST_ID, OVER_BUDGET, REPLAYED, TOO_MANY_HOSTS, Cause
from processor.sessions.records import encode_session
from processor.sessions.sessions import Sessions
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.encoding.batch import BadBatch, decode_batch

_DAY = 86_400 * 10**9
BATCHES_MISSING = "batches_missing"
"""A reason of losses: a host's sequence numbers had a gap. It counts batches."""
_PAST = TOLERATED
"""Age of a batch at which it shows nothing about its host if a later start of its collector is known."""
REDATED = "events_redated"
"""The number of events whose time was outside the limits."""
_REDATED_TEXT = (
    f"events were dated more than {AHEAD // 10**9} s after the broker received them, or more than {BEHIND // _DAY} "
    "days before: they were evaluated with the nearest time within these limits"
)
_REPLAYED_TEXT = (
    "batches of host {} that were evaluated before were sent again, by its collector after an interruption or by "
    "somebody else with the right to write events: they were not evaluated again"
)
_TOO_MANY_TEXT = (
    "more hosts send events than can be tracked: ids that were new or long silent were forgotten, and gaps and "
    "silences of those hosts are not reported. Somebody may be inventing host ids"
)


@dataclass(frozen=True, slots=True)
class MessageResult:
    """The result of one message."""

    alerts: tuple[Alert, ...] = ()
    pre_matches: tuple[tuple[bytes, bytes], ...] = ()
    """Keys and values of messages for the correlate topic."""
    sessions: tuple[tuple[bytes, bytes], ...] = ()
    """Keys and values of messages for the sessions topic."""
    refused: str = ""
    """Why the message becomes a dead letter; empty if it does not."""
    events: int = 0
    rejected: RejectedMessage | None = None
    """Why the batch does not come from the host that it names; None if nothing contradicts it."""


CheckHost = Callable[[str], RejectedMessage | None]
"""Returns why a decoded batch does not come from the host whose id it contains; None if it does."""


def accept_any_host(host_id: str) -> RejectedMessage | None:  # noqa: ARG001  nothing is checked
    """Accept a batch of any host."""
    return None


class _Arrival(NamedTuple):
    """How a batch arrived."""

    partition: int
    appended: int
    """Broker's clock, ms."""
    offset: int
    """The correction of its times, ns."""
    redated: int
    """Events whose times were outside the limits."""
    position: int
    """Its offset in the partition; -1 if it is unknown."""
    is_past: bool
    """True if it is of a former start of its collector, and was made long ago: it shows nothing about its host now."""


class MessageStage:
    """Evaluates the messages of the events topic, one after the other."""

    def __init__(
        self,
        rules: CompiledRuleset,
        *,
        clock: Callable[[], float],
        decode: Callable[[bytes], EventBatch] = decode_batch,
        liveness: HostLiveness | None = None,
        limits: BudgetLimits = LIMITS,
        repeats: RepeatedAlerts | None = None,
        hosts: TrackedHosts | None = None,
        messages_per_second: float = MESSAGES_PER_SECOND,
    ) -> None:
        """Begin without any host.

        Args:
            rules: the active rules.
            clock: a monotonic clock, s.
            decode: bytes to a validated batch; raises BadBatch.
            liveness: when each host last reported.
            limits: what one batch may cost.
            repeats: decides which alerts repeat others; None to send all.
            hosts: which hosts are tracked.
            messages_per_second: what a user may cause to stateful rules; 0 for no limits.
        """
        self.sessions = Sessions()
        """Names people in alerts."""
        self.evaluation = DetectStage(rules, repeats, self.sessions)
        self.packer = PreMatchPacker(rules.plan, messages_per_second)
        self.hosts = TrackedHosts() if hosts is None else hosts
        self.pods = PodRecords()
        self.sequences = HostSequences()
        self.evaluated = EvaluatedBatches()
        self.replayed = 0
        """Batches that were in the topic again after they had been evaluated; they were left out."""
        self.liveness = liveness or HostLiveness()
        self.reports = HostReports()
        self.hosts_dropped = 0
        """Hosts that are no longer tracked, for lack of room."""
        self.redated = 0
        """Events whose times were outside the limits."""
        self._clock_skews = ClockSkews()
        self._rejected_batches = RejectedBatches()
        self._hosts_reported = 0
        self._reported_at: dict[int, int] = {}
        self._replays = ReplayCounts()
        self._broker = BrokerClock()
        self._clock = clock
        self._decode = decode
        self._limits = limits

    def change_rules(self, rules: CompiledRuleset, *, decode: Callable[[bytes], EventBatch]) -> None:
        """Evaluate other rules from the next batch on; arguments as in the constructor."""
        self.evaluation.change_rules(rules)
        self.packer.change_rules(rules.plan)
        self._decode = decode

    def take(
        self,
        partition: int,
        value: bytes | None,
        appended: int,
        offset: int = 0,
        check_host: CheckHost = accept_any_host,
        *,
        is_verified: bool = False,
        position: int = -1,
        is_measured: bool = True,
    ) -> MessageResult:
        """Evaluate one message of the events topic.

        Args:
            partition: of the events topic.
            value: the message.
            appended: when the broker appended it, ms.
            offset: by how much the broker's clock is ahead of the host's, ns; 0 if they agree.
            check_host: returns why the batch does not come from the host that it names.
            is_verified: whether the message proves its host, if check_host accepts it.
            position: its offset in the partition; -1 if it is unknown.
            is_measured: whether the host measured `offset`; otherwise it is the time that the message took.
        """
        try:
            decoded = self._decode(value or b"")
            is_old = is_verified and self.sequences.is_past(partition, decoded, position)
            if is_old and not is_measured:
                # Dated by its arrival, as a host's first batch is, a replay would have other alerts than before.
                offset = 0
            batch, redated = dated(decoded, append_time(appended), offset)
            self._broker.seen(appended, self._clock())
        except BadBatch as error:
            return MessageResult(refused=f"not decodable: {error}")
        except Exception as error:  # noqa: BLE001  a bug that one message triggers must not stop the others
            return MessageResult(refused=f"not decodable: {fault_text(error)}")
        if (rejected := check_host(batch.host_id)) is not None:
            return MessageResult(rejected=rejected)
        if is_verified and self.evaluated.has(partition, batch, position):
            return self._replay(batch, appended, position)
        batch.is_established = self.hosts.see(partition, batch.host_id, appended, is_verified=is_verified)
        is_past = is_old and (not is_measured or batch.appended - batch.created > _PAST)
        arrival = _Arrival(partition, appended, offset, redated, position, is_past)
        budget = Budget(self._limits)
        found: list[PreMatch] = []
        pre_matches: list[tuple[bytes, bytes]] = []
        refused = ""
        try:
            self.evaluation.evaluate(BatchView(self.pods.join(batch)), found.append, budget, self.packer.admits)
        except OverBudget as over:
            refused = f"over budget: {over}; {budget.evaluated} of {batch.count} events were evaluated"
        except Exception as error:  # noqa: BLE001  one batch must not stop the others
            refused = f"evaluation failed: {fault_text(error)}"
        try:
            packed, left_out = self.packer.pack(
                found, batch.appended or batch.created, self.evaluation.rules.pre_matcher.forget_sent
            )
            pre_matches += map(message_of, packed)
            pre_matches += map(message_of, self._account(batch, arrival, budget, left_out))
        except Exception as error:  # noqa: BLE001  as above
            refused = refused or f"evaluation failed: {fault_text(error)}"
        if is_verified and not refused:
            self.evaluated.add(partition, batch, position)
        joined = tuple(map(encode_session, self.sessions.take_joined()))
        return MessageResult(tuple(budget.alerts), tuple(pre_matches), joined, refused, batch.count)

    def _replay(self, batch: EventBatch, appended: int, position: int) -> MessageResult:
        """Count a batch that was evaluated before."""
        self.replayed += 1
        count = self._replays.take(batch.host_id, appended // 1000)
        if not count:
            return MessageResult()
        # The number of the batch was counted before, and would make this a repeat.
        cause = Cause(batch.host_id, batch.hostname, append_time(appended), ("replays", 0, position + 1))
        notice = _replayed(batch, count)
        return MessageResult(pre_matches=(message_of(notice_of(cause, notice, appended=cause.time)),))

    def reject(self, rejected: RejectedMessage, position: tuple[str, int, int], appended: int) -> MessageResult:
        """Make a dead letter and a notice of a message that does not come from the host whose id it has.

        Args:
            rejected: why.
            position: topic, partition, offset.
            appended: broker's clock, ms.
        """
        broker_time = append_time(appended)
        hostname = self.reports.name(rejected.host_id)
        cause, notice = self._rejected_batches.notice(rejected, position, hostname, broker_time)
        message = message_of(notice_of(cause, notice, appended=broker_time))
        return MessageResult(pre_matches=(message,), refused=f"not verified: {rejected.reason}")

    def recall(
        self,
        partition: int,
        value: bytes | None,
        appended: int,
        is_of: Callable[[str], bool] = lambda _: True,
        *,
        offset: int = 0,
        position: int = -1,
    ) -> None:
        """Learn a host's last sequence number, and the starts of commands, from a batch that was evaluated before.

        Args:
            partition: of the events topic.
            value: the message.
            appended: broker's clock, ms.
            is_of: returns whether the batch comes from the host that it names.
            offset: as for `take`.
            position: as for `take`.
        """
        try:
            batch = self._decode(value or b"")
            self._broker.seen(appended, self._clock())
            if is_of(batch.host_id):
                self.sessions.see_batch(self.pods.join(dated(batch, append_time(appended), offset)[0]))
                self.hosts.recall(partition, batch.host_id, appended)
                self._drop_gone()
                if not self.sequences.is_repeat(partition, batch):
                    self.liveness.recall(partition, batch, appended)
                self.sequences.see(partition, batch, position)
        except Exception:  # noqa: BLE001  the process that evaluated it has reported what is wrong with it
            return

    def recall_quiet(self, partition: int, hosts: Iterable[QuietHost]) -> None:
        """Learn what another process recorded about hosts; call it before `recall`. hosts: longest silent first."""
        for host in hosts:
            self.hosts.recall(partition, host.host_id, host.appended)
            self.liveness.recall(partition, host, host.appended)
            self.sequences.see(partition, host)
        self._drop_gone()

    def broker_time(self) -> int | None:
        """Return the broker's time at least, ms since the epoch; None before the first message."""
        return self._broker.now(self._clock())

    def forget(self, partitions: frozenset[int]) -> None:
        """Forget the hosts of partitions that another process takes over."""
        for host_id in self.hosts.forget(partitions):
            self._clock_skews.drop(host_id)
        self.sequences.forget(partitions)
        self.evaluated.forget(partitions)
        self.liveness.forget(partitions)
        self.reports.forget(partitions)

    def _account(
        self, batch: EventBatch, arrival: _Arrival, budget: Budget, left_out: Notice | None
    ) -> Iterable[PreMatch]:
        """Record what a batch shows about its host; alerts that are due at once are added to the budget's.

        Returns:
            What the correlate stage sums and reports.
        """
        self.redated += arrival.redated
        if arrival.is_past:
            return []
        # Replaying what a host once sent must not make it look alive.
        if not self.sequences.is_repeat(arrival.partition, batch):
            self.reports.see(arrival.partition, batch, self._clock())
            budget.alerts += self.liveness.see(arrival.partition, batch, arrival.appended)
        notices = [*self._notices(batch, arrival), *_budget_notices(batch, budget)]
        if left_out is not None:
            notices.append(left_out)
        self._drop_gone()
        return [*self._too_many_hosts(arrival), *BatchView(batch).notices(notices)]

    def _drop_gone(self) -> None:
        """Forget the hosts that had to make room for others."""
        for host_id in self.hosts.take_gone():
            self.hosts_dropped += 1
            for each in (self.sequences, self.evaluated, self.liveness, self.reports, self._clock_skews):
                each.drop(host_id)

    def _too_many_hosts(self, arrival: _Arrival) -> list[PreMatch]:
        fresh = self.hosts_dropped - self._hosts_reported
        second = arrival.appended // 1000
        # Once a second: there may be one with each message.
        if not fresh or second <= self._reported_at.get(arrival.partition, 0):
            return []
        self._hosts_reported = self.hosts_dropped
        self._reported_at[arrival.partition] = second
        cause = Cause("", "", append_time(arrival.appended), ("", arrival.partition, second))
        notice = Notice(TOO_MANY_HOSTS, "Warning", {"hosts_dropped": fresh}, _TOO_MANY_TEXT)
        return [notice_of(cause, notice, appended=cause.time, is_established=True)]

    def _notices(self, batch: EventBatch, arrival: _Arrival) -> list[Notice]:
        found = self.sequences.see(arrival.partition, batch, arrival.position)
        clock = self._clock_skews.change(batch.host_id, arrival.offset)
        missing: dict[str, int] = {}
        text = ""
        if isinstance(found, Gap):
            missing[BATCHES_MISSING] = found.missing
            text = f"batches {found.after + 1} to {found.before - 1} of host {batch.hostname} never arrived"
        notices = self.evaluation.notices(BatchView(batch), missing, text)
        if replayed := self._replays.take_rest(batch.host_id):
            notices.append(_replayed(batch, replayed))
        if isinstance(found, DuplicateHosts):
            text = f"two live hosts send under id {batch.host_id}: boots {found.boots[0]} and {found.boots[1]}"
            if found.boots[0] == found.boots[1]:
                text = f"two collectors run on one host and send under id {batch.host_id}"
            notices.append(Notice(DUPLICATE_HOST_ID, "Warning", {"times": 1}, text))
        if clock or arrival.redated:
            numbers = {"times": int(bool(clock)), REDATED: arrival.redated}
            text = "; ".join(filter(None, (clock, _REDATED_TEXT if arrival.redated else "")))
            notices.append(Notice(CLOCK_SKEW, "Warning", {name: n for name, n in numbers.items() if n}, text))
        return notices


def _replayed(batch: EventBatch, count: int) -> Notice:
    return Notice(REPLAYED, "Warning", {"batches_replayed": count}, _REPLAYED_TEXT.format(batch.hostname))


def _budget_notices(batch: EventBatch, budget: Budget) -> Iterable[Notice]:
    if budget.over:
        text = f"a batch of host {batch.hostname} cost too much: {budget.over}; it is in the dead letters"
        yield Notice(OVER_BUDGET, "Warning", {"events_not_evaluated": batch.count - budget.evaluated}, text)
    elif budget.shortened:
        text = f"batches of host {batch.hostname} make so many bytes of alerts that some were shortened"
        yield Notice(OVER_BUDGET, "Notice", {"alerts_shortened": budget.shortened}, text)
