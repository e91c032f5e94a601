"""Decides when a processor compiles, supports and evaluates which version of the published rules.

Pure: messages, compiled versions and the time are passed in; actions come out, in the order in which to perform them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import nlargest
from operator import itemgetter

from bus.topics import PROCESSORS, PUSHDOWN_FILTERS
from processor.fleet.rules.actions import (
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
    filter_unusable,
    rules_changed,
    rules_refused,
)
from processor.fleet.rules.peers import Peers, Report, all_evaluate, not_ready
from processor.hosts.tracked import HostReports
from processor.splitting import Plan, merged
from schemas.alert import Alert
from schemas.filter import BadFilter, decode_filter, is_version

STEP_SECONDS = 0.2
"""The longest time between two steps."""
REPORT_SECONDS = 5.0
KEEP_SECONDS = 60.0
"""How long old versions are supported after the last switch: their pre-matches may still be in flight."""
SETTLE_SECONDS = 2 * REPORT_SECONDS
"""The same if no other version is known: within this time every other processor has reported its version."""
REPAIR_SECONDS = 5.0
"""How long another processor has to repair pushdown filters."""
MAX_FILTERS = 64
_MAX_COSTS = 200
"""Rules whose costs are reported."""
_MAX_NAMED = 20
_MAX_REASON = 1000


@dataclass(frozen=True, slots=True)
class Now:
    """The time of a step."""

    monotonic: float
    """s."""
    wall: int
    """ns since the epoch."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """Other processors may evaluate other versions, so correlation supports all that are known."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A compiled version waits for hosts and other processors; correlation supports it already."""

    rules: RulesInUse
    since: float
    """Monotonic, s."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """All processors evaluate the active version; correlation still supports the versions before."""

    since: float
    """Monotonic, s."""


@dataclass(frozen=True, slots=True)
class Settled:
    """All processors evaluate the active version, and correlation has dropped the others."""


State = Mixed | Waiting | Agreed | Settled


class RolloutMachine:
    """The rollout of rules as one processor sees it.

    `compiled` leads from any state to Waiting, and the switch from there to Mixed. While all processors evaluate the
    active version, Mixed becomes Agreed and, after a minute, Settled; a processor that evaluates another leads back.
    """

    def __init__(
        self,
        in_use: RulesInUse,
        hosts: HostReports,
        *,
        former: Mapping[str, Plan],
        prefix: str,
        worker: str,
        wait_seconds: float,
        wall: int,
        costs: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Begin with the active version.

        Args:
            in_use: the active version.
            hosts: the pushdown filters that hosts report.
            former: the plans of versions that others may still evaluate, or did until recently.
            prefix: of the cluster's topics.
            worker: the name of this processor.
            wait_seconds: how long to wait for hosts and other processors.
            wall: the time, ns since the epoch.
            costs: returns the seconds that each rule took.
        """
        self.in_use = in_use
        self.state: State = Mixed()
        self._hosts = hosts
        self._prefix = prefix
        self._worker = worker
        self._wait_seconds = wait_seconds
        self._since = wall
        self._costs = costs
        self._plans: dict[str, Plan] = {**former, in_use.version: in_use.ruleset.plan}
        self._peers = Peers()
        self._filters: dict[bytes, bytes] = {}
        self._unusable: set[bytes] = set()
        self._wrong_since: float | None = None
        """Since when filters of this processor's versions are missing or others, monotonic s."""
        self._offered: Offer | None = None
        self._has_read_all = False
        self._refused = ""
        self._change: Alert | None = None
        self._reported: tuple[float, Report | None] = (0.0, None)

    def take_report(self, key: bytes, value: bytes | None, stamp: int) -> None:
        """Apply a message of another processor. stamp: ms since the epoch."""
        self._peers.take(key, value, stamp)

    def take_filter(self, version: bytes, value: bytes | None) -> None:
        """Apply a message of the topic of pushdown filters."""
        if value is None:
            self._filters.pop(version, None)
        elif version in self._filters or len(self._filters) < MAX_FILTERS:
            self._filters[version] = value

    def take_offer(self, offer: Offer) -> None:
        """Remember a published version that is newer than the active one; the newest replaces the others."""
        if offer.offset > self.in_use.offset:
            self._offered = offer

    def take_end(self) -> None:
        """Allow steps: all topics have been read to their ends once."""
        self._has_read_all = True

    def consider(self) -> list[Action]:
        """Return what to do about a newly published version; the step comes after that."""
        offer = self._offered
        if offer is None or not self._has_read_all:
            return []
        self._offered = None
        if offer.value is None:
            return [Note(f"the published rules were deleted; version {self.in_use.version} stays active.")]
        return [Compile(offer)]

    def compiled(self, offer: Offer, fresh: RulesInUse, now: Now) -> list[Action]:
        """Support a compiled version, and wait until all are ready for it. It replaces one that was waited for."""
        waiting = self._waiting
        known = self.in_use if waiting is None else waiting
        # Anybody who may write could replay an old version with its signature.
        if fresh.published and known.published and fresh.published.published <= known.published.published:
            older = f"version {fresh.version} is older than {known.version}; publish its files again to go back"
            return [Close(fresh), *self.refused(offer, older)]
        self._refused = ""
        self._plans[fresh.version] = fresh.ruleset.plan
        self.state = Waiting(fresh, now.monotonic)
        closing = [] if waiting is None else [Close(waiting)]
        return [*closing, self.support_all()]

    def refused(self, offer: Offer, reason: str) -> list[Action]:
        """Keep the active version, and report why the offered one is not used."""
        self._refused = reason
        active = self.in_use.version
        return [
            Note(f"rules refused: {reason}. Version {active} stays active.", "error"),
            SendAlert(rules_refused(self._prefix, offer, reason, active)),
        ]

    def step(self, now: Now) -> list[Action]:
        """Return what is to be done now."""
        actions: list[Action] = []
        if self._has_read_all:
            parts = (self._switch, self._report_change, self._repair_filters, self._report, self._settle, self._clean)
            for part in parts:
                # A part that fails must not block those that other processors wait for.
                try:
                    for action in part(now):
                        actions.append(action)  # noqa: PERF402  those before an error are performed
                except Exception as error:  # noqa: BLE001  the processor continues to evaluate, but must report it
                    actions.append(Failed(error))
        return actions

    def workers(self, now: Now) -> list[str]:
        """Return the names of the live processors."""
        return [self._worker, *(report.worker for report in self._others(now))]

    def mark_reported(self, version: str) -> None:
        """Record that the activation of a version was reported."""
        self._peers.reported = version

    def finish(self) -> list[Action]:
        """Return what to do at the end: the other processors must not wait for this one."""
        waiting = self._waiting
        closing = [Close(each) for each in (self.in_use, waiting) if each is not None]
        return [Send(PROCESSORS, self._worker.encode(), None), *closing]

    @property
    def _waiting(self) -> RulesInUse | None:
        return self.state.rules if isinstance(self.state, Waiting) else None

    def _switch(self, now: Now) -> Iterator[Action]:
        if not isinstance(self.state, Waiting):
            return
        fresh, old = self.state.rules, self.in_use
        hosts = self._hosts.lagging(fresh.version, now.monotonic)
        others = not_ready(fresh.version, self._others(now))
        if hosts or others:
            if now.monotonic - self.state.since < self._wait_seconds:
                return
            yield Note(_impatience(fresh.version, hosts, others), "warning")
        self.in_use, self.state, self._since = fresh, Mixed(), now.wall
        yield Activate(fresh, old)
        self._change = rules_changed(self._prefix, fresh, old)
        yield Note(self._change.output)

    def _report_change(self, _: Now) -> Iterator[Action]:
        """Report the active version unless another processor did; both reports would have the same id."""
        version = self.in_use.version
        if not is_version(version) or (is_version(self._peers.reported) and self._peers.reported >= version):
            return
        alert, self._change = self._change or rules_changed(self._prefix, self.in_use, None), None
        yield ReportChange(alert, version)

    def _repair_filters(self, now: Now) -> Iterator[Action]:
        """Publish the pushdown filters of this processor's versions if they are missing or were overwritten."""
        expected = {
            each.version.encode(): each.encoded_filter
            for each in (self.in_use, self._waiting)
            if each and each.published
        }
        if all(self._filters.get(key) == encoded for key, encoded in expected.items()):
            self._wrong_since = None
        elif self._wrong_since is None:
            self._wrong_since = now.monotonic
        # The first one may exist in the reports alone.
        is_overdue = self._wrong_since is not None and now.monotonic - self._wrong_since >= REPAIR_SECONDS
        if not self._is_first(now) and not is_overdue:
            return
        for key, found in self._filters.items():
            if found != expected.get(key) and key not in self._unusable and (why := _why_unusable(found)):
                self._unusable.add(key)
                yield SendAlert(filter_unusable(self._prefix, key, found, why, now.wall))
        for key, encoded in expected.items():
            if self._filters.get(key) != encoded:
                self._filters[key] = encoded
                self._unusable.discard(key)
                yield Send(PUSHDOWN_FILTERS, key, encoded)

    def _report(self, now: Now) -> Iterator[Action]:
        waiting = self._waiting
        lagging = [] if waiting is None else self._hosts.lagging(waiting.version, now.monotonic)
        report = Report(
            worker=self._worker,
            active=self.in_use.version,
            ready=tuple(self._plans),
            since=self._since,
            rules=len(self.in_use.ruleset.names_of()),
            waiting="" if waiting is None else waiting.version,
            lagging=tuple(lagging[:_MAX_NAMED]),
            refused=self._refused[:_MAX_REASON],
            hosts=dict(self._hosts.counts(now.monotonic).most_common(_MAX_NAMED)),
        )
        at, last = self._reported
        elapsed = now.monotonic - at
        if elapsed >= REPORT_SECONDS or (report != last and elapsed >= STEP_SECONDS):
            self._reported = (now.monotonic, report)
            # Costs always change: alone, they are no reason to report.
            costs = nlargest(_MAX_COSTS, list(self._costs().items()), key=itemgetter(1))
            seconds = {name: round(number, 6) for name, number in costs}
            yield Send(PROCESSORS, self._worker.encode(), replace(report, seconds=seconds).encoded())

    def _settle(self, now: Now) -> Iterator[Action]:
        """Drop the state of old versions once no processor can need it; support all again when one does."""
        if isinstance(self.state, Waiting):
            return
        if not all_evaluate(self.in_use.version, self._others(now)):
            was_settled, self.state = isinstance(self.state, Settled), Mixed()
            if was_settled:
                yield self.support_all()
            return
        if isinstance(self.state, Mixed):
            self.state = Agreed(now.monotonic)
        keep = KEEP_SECONDS if len(self._plans) > 1 else SETTLE_SECONDS
        if isinstance(self.state, Agreed) and now.monotonic - self.state.since >= keep:
            self.state = Settled()
            plan = self.in_use.ruleset.plan
            self._plans = {self.in_use.version: plan}
            yield Support(plan, is_settled=True)

    def _clean(self, now: Now) -> Iterator[Action]:
        """Delete the filters of old versions, and the reports of dead processors."""
        if not isinstance(self.state, (Agreed, Settled)) or not self._is_first(now):
            return
        version = self.in_use.version
        for key in [key for key in self._filters if is_version(version) and _is_past(key, version)]:
            del self._filters[key]
            yield Send(PUSHDOWN_FILTERS, key, None)
        for key in self._peers.stale(now.wall // 1_000_000):
            yield Send(PROCESSORS, key, None)

    def support_all(self) -> Support:
        """Support all versions, and keep state of unknown ones: others may know them."""
        return Support(merged(self._plans.values()), is_settled=False)

    def _others(self, now: Now) -> list[Report]:
        return [report for report in self._peers.live(now.wall // 1_000_000) if report.worker != self._worker]

    def _is_first(self, now: Now) -> bool:
        """Return True if this processor does the work that only one processor has to do."""
        return all(self._worker < report.worker for report in self._others(now))


def _impatience(version: str, hosts: list[str], others: list[str]) -> str:
    who = [*(f"host {name}" for name in hosts), *(f"processor {name}" for name in others)]
    more = f" and {len(who) - _MAX_NAMED} more" if len(who) > _MAX_NAMED else ""
    return (
        f"version {version} becomes active although not all are ready for it: "
        f"{', '.join(who[:_MAX_NAMED])}{more}. Until a host applies its filter, rules may miss events there."
    )


def _is_past(key: bytes, version: str) -> bool:
    name = key.decode("utf-8", "replace")
    return not is_version(name) or name < version


def _why_unusable(encoded: bytes) -> str:
    try:
        decode_filter(encoded)
    except BadFilter as error:
        return str(error)
    return ""
