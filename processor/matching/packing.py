"""Pack a batch's events for stateful rules into few messages, within the budget of the user who caused them.

A user can cause a hundred thousand matching events a second, and a message costs half a millisecond in both stages. So

- of events of one group that follow each other and satisfy the same terms, only those at the beginning and at the end
  can change a window. The others become the weight of the next one. This depends on the batch alone, so that a batch
  that is evaluated again, by whatever process, gives the same.
- only an alert needs the content of an event, which is nearly all of a message. The first events of a group have it;
  while many follow, only the last one of each batch. The others are sent within its message.
- users, containers and hosts have a budget of messages. What exceeds it is left out, counted and reported, and the
  windows of that user are marked: they have at least as many events as they count.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from foundation.caches import BoundedMap
from foundation.throttling import RateLimit
from processor.matching.gathered import SeenKey
from processor.matching.pre_match import Account, Feed, Group, Notice, PreMatch
from processor.output.internal_alerts import CORRELATION_LIMITED
from processor.splitting import Plan, StatefulMacro

MAX_RUNS = 64
"""Series of events with the same terms that are retained in order, of one batch and group."""
MESSAGES_PER_SECOND = 100
"""The default budget of a user."""
LEVELS = {"user": 1, "container": 2, "host": 4}
"""The levels of budgets, and how many times as large as a user's each is."""
_SECONDS_AT_ONCE = 5
"""How many seconds of an unused budget can be spent at once."""
_MAX_ACCOUNTS = 20_000
_MAX_GROUPS = 50_000
_CONTENTS_PER_SECOND = 2.0
_CONTENTS_AT_ONCE = 32
_MAX_CONTENTS_AT_ONCE = 200
_MAX_CHANGES = 8
"""The maximum number of changes between kinds of events, in a batch and group, after which an event has content."""
_LEAST_RETAINED = 2
"""Events at the beginning of a run: the second one meets the changes by the first, such as a value that is known."""
_EVENTS_OF_EXCEEDING = 64
"""Events of a batch to evaluate for an account of which most events were left out in the last second."""
_RUN = 100_000_000
"""The longest duration of a run, ns: no time of a window or of repeats is wrong by more."""
_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class _Term:
    """The facts about a term for packing."""

    event_count: int = 1
    """The largest number of events that a window needs of it."""
    value_count: int = 0
    """The largest number of values that a window needs of it; 0 if it counts none."""
    first_seen: StatefulMacro | None = None
    """The macro that it is a leg of, if it looks up values."""
    needs_content: bool = False
    """True if each of its events may be an alert, whatever preceded it."""
    completes_sequence: bool = False
    """True if an event may be an alert because an event of another kind preceded it."""
    timespan: int = 0
    """ns."""


_UNKNOWN = _Term()


class PreMatchPacker:
    """Packs batches one after the other. Its memory decides only which events have content and which are left out."""

    def __init__(self, plan: Plan, messages_per_second: float = MESSAGES_PER_SECOND) -> None:
        """Begin.

        Args:
            plan: the stateful rules.
            messages_per_second: the budget of a user; a container has twice as much, and a host four times. 0 for no
                limits.
        """
        self._terms = _terms_of(plan)
        self._is_limited = messages_per_second > 0
        self._budgets = tuple(
            RateLimit[Account](
                factor * messages_per_second, factor * messages_per_second * _SECONDS_AT_ONCE, max_keys=_MAX_ACCOUNTS
            )
            for factor in LEVELS.values()
        )
        self._contents: dict[int, RateLimit[int]] = {}
        """By the number of contents at once, the limits of groups."""
        self._values_seen: BoundedMap[int, int] = BoundedMap(_MAX_GROUPS)
        self._left_out_at: BoundedMap[Account, int] = BoundedMap(_MAX_ACCOUNTS)
        self._exceeding: BoundedMap[Account, int] = BoundedMap(_MAX_ACCOUNTS)
        """The last time at which most of an account's events were left out, ns."""
        self._admitted: Counter[Account] = Counter()
        self._not_admitted: Counter[tuple[Account, str]] = Counter()
        """The present batch's events of accounts beyond their budget: evaluated nevertheless, and others by level."""
        self._reserve = messages_per_second * _SECONDS_AT_ONCE / 2
        self._rate = messages_per_second
        self.left_out: Counter[str] = Counter()
        """Events that were not correlated because a budget was used up, by level: user, container, host."""

    def change_rules(self, plan: Plan) -> None:
        """Pack events of other rules from now on."""
        self._terms = _terms_of(plan)

    def admits(self, account: Account, now: int, weight: int) -> bool:
        """Return whether to evaluate an event of the next batch: of an account beyond its budget, few are evaluated.

        Args:
            account: that of the user who caused it.
            now: when the batch arrived, ns since the epoch.
            weight: how many events it stands for.
        """
        if not self._exceeding:
            return True
        for level, key in zip(LEVELS, account.levels, strict=True):
            since = self._exceeding.get(key)
            if since is not None and 0 <= now - since < _SECOND:
                self._admitted[key] += 1
                if self._admitted[key] > _EVENTS_OF_EXCEEDING:
                    self._not_admitted[account, level] += weight
                    return False
        return True

    def pack(
        self, pre_matches: Sequence[PreMatch], now: int, on_left_out: Callable[[Iterable[SeenKey]], None]
    ) -> tuple[list[PreMatch], Notice | None]:
        """Return the messages of a batch, and a notice if some of its events were left out.

        Args:
            pre_matches: the events of one batch for each group, in order.
            now: when the batch arrived, ns since the epoch.
            on_left_out: receives the values of first_seen that were left out and thus aren't known.
        """
        groups: dict[Group, list[PreMatch]] = {}
        found: list[PreMatch] = []
        for each in pre_matches:
            if each.feeds or each.candidates or each.relays:
                groups.setdefault(each.group, []).append(each)
            else:
                found.append(each)
        excess: dict[tuple[Account, str], list[PreMatch]] = {}
        for events in groups.values():
            for message, is_whole in self._messages(_reduced(events, self._terms), now):
                level = self._exceeded(message.account, now, is_whole=is_whole)
                if level:
                    excess.setdefault((message.account, level), []).append(message)
                else:
                    found.append(self._marked(message))
        # Groups that relay an event come after those to which they relay it.
        found.sort(key=lambda message: bool(message.relays))
        numbers, self._not_admitted = self._not_admitted, Counter()
        self._admitted.clear()
        for (account, level), messages in excess.items():
            events = [event for message in messages for event in (*message.earlier, message)]
            numbers[account, level] += sum(event.weight for event in events)
            if 2 * len(events) > len(pre_matches):
                self._exceeding.put(account.levels[list(LEVELS).index(level)], now)
            on_left_out(self._values(events))
        for (account, level), number in numbers.items():
            self.left_out[level] += number
            self._left_out_at.put(account, now)
        return found, self._notice(*numbers.most_common(1)[0][0], numbers.total()) if numbers else None

    def _messages(self, events: Sequence[PreMatch], now: int) -> Iterator[tuple[PreMatch, bool]]:
        """Yield the messages for a group, each with True if it is sent because the group had few events lately."""
        signatures = [_signature(event, self._terms) for event in events]
        last = {signature: index for index, signature in enumerate(signatures)}
        waiting: list[PreMatch] = []
        changes = 0
        for index, event in enumerate(events):
            if waiting and waiting[-1].account != event.account:
                yield _joined(waiting), False
                waiting = []
            waiting.append(event)
            changes += not index or signatures[index] != signatures[index - 1]
            terms = [self._terms.get(each.term, _UNKNOWN) for each in event.candidates]
            if bool(event.relays) or any(term.needs_content for term in terms):
                is_whole, has_content = True, True
            else:
                is_whole = bool(terms) and self._has_content_left(event, now)
                has_content = is_whole
                # An event that completes a sequence comes right after one of another kind.
                has_content |= changes <= _MAX_CHANGES and any(term.completes_sequence for term in terms)
                has_content |= bool(terms) and last[signatures[index]] == index
            if has_content:
                yield _joined(waiting), is_whole
                waiting = []
        if waiting:
            yield _joined(waiting), self._has_content_left(waiting[-1], now)

    def _has_content_left(self, event: PreMatch, now: int) -> bool:
        """Return whether an event gets content because its group had few such events lately.

        An alert about values is about a new one, so repeated values don't use up the budget of new ones.
        """
        if not self._is_limited:
            return True
        fed = [self._terms.get(feed.term, _UNKNOWN) for feed in event.feeds]
        counted = [feed for feed, term in zip(event.feeds, fed, strict=True) if term.value_count]
        is_new = sum(self._is_new(event, feed, now) for feed in counted) > 0
        if not is_new and fed and all(term.value_count for term in fed):
            return False
        most = max((max(term.event_count, term.value_count) for term in fed), default=1)
        at_once = min(max(most, _CONTENTS_AT_ONCE), _MAX_CONTENTS_AT_ONCE)
        limit = self._contents.get(at_once)
        if limit is None:
            limit = self._contents[at_once] = RateLimit(_CONTENTS_PER_SECOND, at_once, max_keys=_MAX_GROUPS)
        names = (*(feed.term for feed in event.feeds), *(each.term for each in event.candidates))
        return limit.take(hash((event.group, names, is_new)), now / _SECOND)

    def _is_new(self, event: PreMatch, feed: Feed, now: int) -> bool:
        """Return whether windows may not know a value, and treat it as known from now on."""
        key = hash((feed.term, event.group, feed.value))
        since = self._values_seen.get(key)
        self._values_seen.put(key, now)
        return since is None or not 0 <= now - since <= self._terms[feed.term].timespan

    def _exceeded(self, account: Account, now: int, *, is_whole: bool) -> str:
        """Take a message from the budgets; return the level whose budget is used up, or "".

        A part of the user's is reserved for groups with few events, so that a flood of one doesn't displace others.
        """
        if not self._is_limited:
            return ""
        seconds = now / _SECOND
        for level, budget, key in zip(LEVELS, self._budgets, account.levels, strict=True):
            reserve = self._reserve if level == "user" and not is_whole else 0
            if budget.left(key, seconds) < 1 + reserve:
                return level
        for budget, key in zip(self._budgets, account.levels, strict=True):
            budget.take(key, seconds)
        return ""

    def _marked(self, message: PreMatch) -> PreMatch:
        """Mark a message if events that its windows would count were left out."""
        since = self._left_out_at.get(message.account)
        if since is None:
            return message
        timespan = max((self._terms.get(feed.term, _UNKNOWN).timespan for feed in message.feeds), default=0)
        return replace(message, is_partial=True) if message.time - since <= timespan else message

    def _values(self, events: Iterable[PreMatch]) -> Iterator[SeenKey]:
        for event in events:
            for feed in event.feeds:
                macro = self._terms.get(feed.term, _UNKNOWN).first_seen
                if macro is not None and feed.value is not None:
                    yield macro.fingerprint, event.group, feed.value

    def _notice(self, account: Account, level: str, number: int) -> Notice:
        container = f"container {account.container[:12]}" if account.container else "no container"
        who = {
            "user": f"user {account.user} in {container}",
            "container": f"all users in {container}",
            "host": "all users of the host",
        }[level]
        text = (
            f"{who} caused more than {LEVELS[level] * self._rate:g} messages a second to stateful rules; further "
            "events were left out, and windows have at least as many as they count"
        )
        return Notice(CORRELATION_LIMITED, "Warning", {"events_not_correlated": number}, text)


def _terms_of(plan: Plan) -> Mapping[str, _Term]:
    found: dict[str, _Term] = {}
    looking_up = {macro.fingerprint for macro in plan.macros if macro.correlation.kind.remembers_values}
    sequences = {macro.fingerprint for macro in plan.macros if macro.correlation.kind.is_temporal}
    for macro in plan.macros:
        kind, threshold = macro.correlation.kind, macro.correlation.threshold
        term = _Term(
            1 if kind.counts_values else threshold,
            threshold if kind.counts_values else 0,
            macro if kind.remembers_values else None,
            timespan=macro.correlation.timespan,
        )
        found.update((each.id, term) for leg in macro.legs for each in leg.terms)
    for rule in plan.rules:
        found.update(
            (
                term.id,
                _Term(needs_content=bool(term.needs & looking_up), completes_sequence=bool(term.needs & sequences)),
            )
            for term in rule.terms
        )
    return found


def _signature(event: PreMatch, terms: Mapping[str, _Term]) -> tuple[object, ...]:
    """Return a key that is equal for events of one group of which only the number matters."""
    if event.relays:
        return (event.origin.index,)
    looked_up = [feed.value for feed in event.feeds if terms.get(feed.term, _UNKNOWN).first_seen is not None]
    candidates = ((each.term, each.by) for each in event.candidates)
    return (event.account, *(feed.term for feed in event.feeds), *candidates, *looked_up)


def _reduced(events: Sequence[PreMatch], terms: Mapping[str, _Term]) -> list[PreMatch]:
    """Return the events of one group that can change a window, with the weight of the others."""
    if len(events) <= 2:
        return list(events)
    runs = [list(run) for _, run in groupby(events, lambda event: (event.time // _RUN, _signature(event, terms)))]
    if len(runs) > MAX_RUNS:
        others: dict[tuple[object, ...], list[PreMatch]] = {}
        for event in (event for run in runs[MAX_RUNS:] for event in run):
            others.setdefault(_signature(event, terms), []).append(event)
        runs = [*runs[:MAX_RUNS], *others.values()]
    found = [event for run in runs for event in _of_run(run, terms)]
    return found if len(runs) <= MAX_RUNS else sorted(found, key=lambda event: event.origin.index)


def _of_run(run: Sequence[PreMatch], terms: Mapping[str, _Term]) -> Iterator[PreMatch]:
    """Yield the events at the beginning and the end of a run that windows need; the others become weight."""
    of_feeds = [(number, terms.get(feed.term, _UNKNOWN)) for number, feed in enumerate(run[0].feeds)]
    most = max(_LEAST_RETAINED, *(term.event_count for _, term in of_feeds))
    if len(run) <= 2 * most:
        yield from run
        return
    retained = {*range(most), *range(len(run) - most, len(run))}
    for number, term in of_feeds:
        if term.value_count:
            values = [event.feeds[number].value for event in run]
            retained.update(_first_of_each(values, range(len(run)), term.value_count))
            retained.update(_first_of_each(values, reversed(range(len(run))), term.value_count))
    weight = 0
    for index, event in enumerate(run):
        weight += event.weight
        if index in retained:
            yield event if weight == event.weight else replace(event, weight=weight)
            weight = 0


def _first_of_each(values: Sequence[str | None], order: Iterable[int], most: int) -> Iterator[int]:
    """Yield the indexes of the first occurrences of at most so many values. order: the indexes to look at."""
    seen: set[str | None] = set()
    for index in order:
        if len(seen) == most:
            return
        if values[index] not in seen:
            seen.add(values[index])
            yield index


def _joined(events: Sequence[PreMatch]) -> PreMatch:
    """Return the last event, with the events before it, which have no content."""
    *earlier, last = events
    if not earlier:
        return last
    return replace(last, earlier=tuple(map(_without_content, earlier)))


def _without_content(event: PreMatch) -> PreMatch:
    return replace(event, candidates=tuple(replace(each, content=None) for each in event.candidates))
