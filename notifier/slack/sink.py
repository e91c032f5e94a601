"""Slack as a sink: one message a second a channel, repeats and summaries in a thread, a digest in a flood.

By the Web API, what comes again is posted in the thread of the message that stands, and counted in that message.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from notifier.delivery.outcome import Delivered, RateLimited, RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.slack.blocks import digest, message, stands_for
from notifier.slack.client import GONE, SlackClient
from notifier.slack.posted import PostedMessages, Standing

SECONDS_A_MESSAGE = 1.0
"""Slack's limit for a channel. Source: docs.slack.dev, rate limits."""
SECONDS_AN_EDIT = 2.0
"""chat.update is allowed some fifty times a minute, over all channels. Source: as above, tier 3."""
SECONDS_AFTER_A_FAILED_EDIT = 30.0
FLOOD = 10
"""So many that wait are more than ten seconds behind: from here on they go together."""
TOGETHER = 500
THREAD_SECONDS = 3600.0
"""So long what comes again threads under a message; then it is told anew."""


class SlackSink:
    """Takes one alert at a time, or all that wait when there are too many."""

    most = TOGETHER

    def __init__(
        self,
        client: SlackClient,
        posted: PostedMessages | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Begin.

        Args:
            client: one of Slack's two ways in.
            posted: messages that stand; only in memory, if not given.
            clock: seconds, of a clock that doesn't jump.
            wall: wall clock, seconds.
        """
        self._client = client
        self._posted = PostedMessages(None) if posted is None else posted
        self._clock = clock
        self._wall = wall
        self._free_at: dict[str | None, float] = {}
        self._edit_at = 0.0
        self._told: set[tuple[str, str | None]] = set()
        """Ids and the channels that have them, while another channel of the same alerts hasn't yet."""

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Post the first alert, or a digest a channel of all of them."""
        self._catch_up()
        flood = len(parcels) >= FLOOD
        offered = parcels if flood else parcels[:1]
        by_channel: dict[str | None, list[RoutedAlert]] = {}
        for parcel in offered:
            for each in (parcel, *parcel.more):
                if (each.alert.id, each.channel) not in self._told:
                    by_channel.setdefault(each.channel, []).append(each)
        for channel, group in by_channel.items():
            outcome: SendOutcome = self._paced(channel) or (
                self._digest(channel, group) if flood else self._one(group[0])
            )
            if isinstance(outcome, Undeliverable):
                return Undeliverable(outcome.reason, len(offered))
            if not isinstance(outcome, Delivered):
                return outcome
            self._told.update((each.alert.id, channel) for each in group)
        ids = {parcel.alert.id for parcel in offered}
        self._told = {each for each in self._told if each[0] not in ids}
        return Delivered(len(offered))

    def tend(self) -> None:
        """Put right the count of a message."""
        self._catch_up()

    def reopen(self) -> None:
        """Nothing to open anew: every message has its own connection."""

    def close(self) -> None:
        """Let go of the record of messages; a count that is still to be shown is shown after the next start."""
        self._posted.close()

    def _digest(self, channel: str | None, group: Sequence[RoutedAlert]) -> SendOutcome:
        outcome, _ = self._client.post(digest([parcel.alert for parcel in group]), channel, None)
        self._spent(channel)
        if isinstance(outcome, Delivered):
            for parcel in group:
                self._count(parcel, self._standing(parcel))
        return outcome

    def _one(self, parcel: RoutedAlert) -> SendOutcome:
        with suppress(OSError):
            if self._posted.of(parcel.alert.id, parcel.channel) is not None:
                # Posted by a process that died before it could record that.
                return Delivered()
        before = self._standing(parcel)
        outcome, posted = self._client.post(message(parcel), parcel.channel, before.posted if before else None)
        self._spent(parcel.channel)
        if before is not None and isinstance(outcome, Undeliverable) and outcome.reason in GONE:
            # Somebody deleted the message: this one stands by itself.
            with suppress(OSError):
                self._posted.forget(before)
            return RateLimited(SECONDS_A_MESSAGE)
        if isinstance(outcome, Delivered) and before is not None:
            self._count(parcel, before)
        elif isinstance(outcome, Delivered) and posted is not None:
            # Slack has it: if it can't be remembered, what comes again stands by itself, and nothing is lost.
            with suppress(OSError):
                self._posted.add(parcel, posted, self._wall())
        return outcome

    def _standing(self, parcel: RoutedAlert) -> Standing | None:
        """Find the message that an alert belongs under."""
        if not self._client.can_edit:
            return None
        with suppress(OSError):
            repeats = parcel.alert.repeats
            if repeats:
                return self._posted.of(repeats.first_id, parcel.channel)
            return self._posted.like(parcel, self._wall() - THREAD_SECONDS)
        return None

    def _count(self, parcel: RoutedAlert, standing: Standing | None) -> None:
        if standing is not None:
            alert = parcel.alert
            with suppress(OSError):
                self._posted.count(standing, stands_for(alert), alert.repeats.last if alert.repeats else alert.time)

    def _catch_up(self) -> None:
        """Show a count that has changed, as often as Slack allows."""
        if not self._client.can_edit or self._clock() < self._edit_at:
            return
        with suppress(OSError):
            standing = self._posted.behind()
            if standing is None:
                return
            outcome = self._client.edit(message(standing.parcel, standing.repeats), standing.posted)
            self._edit_at = self._clock() + SECONDS_AN_EDIT
            match outcome:
                case Delivered():
                    self._posted.shown(standing)
                case Undeliverable():
                    self._posted.forget(standing)
                case RetryLater(_, after):
                    self._edit_at += after or SECONDS_AFTER_A_FAILED_EDIT
                case RateLimited():
                    pass

    def _paced(self, channel: str | None) -> RateLimited | None:
        wait = self._free_at.get(channel, 0.0) - self._clock()
        return RateLimited(wait) if wait > 0 else None

    def _spent(self, channel: str | None) -> None:
        # A request that failed counts too: Slack counts them.
        self._free_at[channel] = self._clock() + SECONDS_A_MESSAGE
