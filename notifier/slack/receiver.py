"""Slack as a sink: one message a second a channel, summaries with the alert they sum up, a digest in a flood."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from notifier.receiver import Accepted, Hold, Outcome, Parcel, Refused
from notifier.slack.blocks import digest, message
from notifier.slack.client import Posted, SlackClient

SECONDS_A_MESSAGE = 1.0
"""Slack's limit for a channel. Source: docs.slack.dev, rate limits."""
FLOOD = 10
"""So many that wait are more than ten seconds behind: from here on they go together."""
TOGETHER = 500
REMEMBERED = 10_000
"""Messages that can still be edited when their summary comes."""


class SlackReceiver:
    """Takes one alert at a time, or all that wait when there are too many."""

    most = TOGETHER

    def __init__(self, client: SlackClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin; clock gives seconds and doesn't jump."""
        self._client = client
        self._clock = clock
        self._free_at: dict[str | None, float] = {}
        self._posted: OrderedDict[str, tuple[Posted, Parcel]] = OrderedDict()
        self._told: set[str] = set()
        """Ids whose channel has its digest, while another channel of the same flood hasn't yet."""

    def offer(self, parcels: Sequence[Parcel]) -> Outcome:
        """Post the first alert, or a digest a channel of all of them."""
        if len(parcels) < FLOOD:
            return self._one(parcels[0])
        by_channel: dict[str | None, list[Parcel]] = {}
        for parcel in parcels:
            if parcel.alert.id not in self._told:
                by_channel.setdefault(parcel.channel, []).append(parcel)
        for channel, group in by_channel.items():
            outcome: Outcome | None = self._paced(channel)
            if outcome is None:
                outcome, _ = self._client.post(digest([parcel.alert for parcel in group]), channel, None)
                self._spent(channel)
            if isinstance(outcome, Refused):
                return Refused(outcome.reason, len(parcels))
            if not isinstance(outcome, Accepted):
                return outcome
            self._told.update(parcel.alert.id for parcel in group)
        self._told.difference_update(parcel.alert.id for parcel in parcels)
        return Accepted(len(parcels))

    def tend(self) -> None:
        """Nothing to look after."""

    def reopen(self) -> None:
        """Nothing to open anew: every message has its own connection."""

    def close(self) -> None:
        """Nothing to let go of."""

    def _one(self, parcel: Parcel) -> Outcome:
        alert = parcel.alert
        if alert.id in self._told:
            self._told.discard(alert.id)
            return Accepted()
        wait = self._paced(parcel.channel)
        if wait is not None:
            return wait
        before = self._posted.get(alert.repeats.first_id) if alert.repeats and self._client.can_edit else None
        outcome, posted = self._client.post(message(parcel), parcel.channel, before[0] if before else None)
        self._spent(parcel.channel)
        if isinstance(outcome, Accepted):
            if before:
                # The reply in the thread tells all; a count that can't be edited in is a blemish and no loss.
                self._client.edit(message(before[1], alert.repeats), before[0])
            elif posted:
                self._posted[alert.id] = (posted, parcel)
                if len(self._posted) > REMEMBERED:
                    self._posted.popitem(last=False)
        return outcome

    def _paced(self, channel: str | None) -> Hold | None:
        wait = self._free_at.get(channel, 0.0) - self._clock()
        return Hold(wait) if wait > 0 else None

    def _spent(self, channel: str | None) -> None:
        # A request that failed counts too: Slack counts them.
        self._free_at[channel] = self._clock() + SECONDS_A_MESSAGE
