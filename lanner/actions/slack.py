"""Approval of actions in Slack: a message for each action that waits, with buttons, and its outcome afterwards."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bus.connection import BusUnavailable
from foundation.caches import BoundedMap
from foundation.errors import LannerError
from foundation.quantities import clock_seconds, duration_text
from foundation.text import OnNote, count_of, printable
from lanner.actions.book import ActionBook, ActionRecords, TrackedAction
from lanner.actions.deciding import DecisionRefused, decide, find_action, on_the_same
from lanner.errors import BadInput
from notifier.sink import RetryLater
from notifier.sinks.slack.blocks import Message
from notifier.sinks.slack.buttons import Click, SlackButtons, question
from notifier.sinks.slack.client import MessageRef, WebApi
from schemas.action import ActionIntent, BadActionRecord, DecisionType

MAX_MESSAGES = 1_000
_POLL_SECONDS = 0.5
_DAY = 86_400_000_000_000
_RETRY_SECONDS = 5.0
_BUTTONS: list[tuple[str, str]] = [("approve", "Approve"), ("reject", "Reject")]
_DECISIONS: Mapping[str, DecisionType] = {"approve": "approve", "reject": "reject"}


@dataclass(slots=True)
class _Posted:
    """The message of an action."""

    ref: MessageRef
    shown: str
    """The outcome that it shows; empty while it has buttons."""


class SlackApprovals:
    """Follows the records of actions on a thread; posts what waits, and stores what people decide by buttons."""

    def __init__(
        self,
        records: ActionRecords,
        api: WebApi,
        open_buttons: Callable[[Callable[[Click], None]], SlackButtons],
        approvers: Mapping[str, str],
        note: OnNote,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Start it.

        Args:
            records: the actions; they are closed at the end.
            api: posts messages in the channel for approvals.
            open_buttons: connects to Slack; gets what receives clicks.
            approvers: the name of each person who may decide, by Slack's id.
            note: receives messages for an operator.
            clock: ns since the epoch.
        """
        self._records, self._api, self._approvers, self._note, self._clock = records, api, approvers, note, clock
        self._book = ActionBook()
        self._posted: BoundedMap[str, _Posted] = BoundedMap(MAX_MESSAGES)
        self._open: dict[str, None] = {}
        """Ids of actions whose messages may change."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._buttons = open_buttons(self.take)
        self._thread = threading.Thread(target=self._follow, name="slack-approvals", daemon=True)
        self._thread.start()

    def take(self, click: Click) -> None:
        """Store what a person decided by a click, or state to them why it isn't possible."""
        who, type_ = self._approvers.get(click.user), _DECISIONS.get(click.name)
        if who is None or type_ is None:
            self._buttons.tell(click, "You may not decide about actions: slack_output.approvers doesn't list you.")
            return
        try:
            with self._lock:
                action = find_action(self._book, click.value)
                made = decide(action, type_, f"{who}@slack", self._clock())
                self._records.write(made)
                self._book.take(made, self._clock())
        except (BusUnavailable, OSError, BadActionRecord, BadInput) as error:
            self._note(f"slack: a decision could not be stored: {printable(str(error))}", "warning")
            self._buttons.tell(click, "It could not be stored; try again.")
        except DecisionRefused as error:
            self._buttons.tell(click, f"It isn't possible: {error}.")

    def stop(self) -> None:
        """Stop."""
        self._stopped.set()
        self._buttons.close()
        self._thread.join(_RETRY_SECONDS)

    def _follow(self) -> None:
        reported = ""
        while not self._stopped.is_set():
            try:
                # A click waits for it; Slack has its acknowledgement by then.
                with self._lock:
                    for record in self._records.update(self._book):
                        if isinstance(record, ActionIntent) and record.state == "ask" and not record.refusal:
                            self._open[record.id] = None
                reported = ""
            except (LannerError, OSError) as error:
                if str(error) != reported:
                    reported = str(error)
                    self._note(f"slack: actions can't be read: {printable(reported)}", "warning")
                self._stopped.wait(_RETRY_SECONDS)
                continue
            self._stopped.wait(_POLL_SECONDS if self._show_all() else _RETRY_SECONDS)
        self._records.close()

    def _show_all(self) -> bool:
        """Post and update messages; return whether Slack has all of them."""
        now = self._clock()
        for id_ in list(self._open):
            action = self._book.find(id_)
            if action is None or now > action.stored + action.intent.wait + action.intent.lease + _DAY:
                del self._open[id_]
            elif not self._show(action):
                return False
        return True

    def _show(self, action: TrackedAction) -> bool:
        """Post a message about an action that waits, or update the one that there is; return whether Slack has it."""
        now = self._clock()
        status, why = action.status(now), action.why(now)
        posted = self._posted.get(action.intent.id)
        if status == "waiting" and posted is None:
            message = self._message(action, now, "")
            _, ref = self._api.post(message, None, None)
            if ref is not None:
                self._posted.put(action.intent.id, _Posted(ref, ""))
            return ref is not None
        if posted is None:
            return True
        decided = ", ".join(f"{each.type}: {each.by}" for each in action.decisions)
        outcome = "" if status == "waiting" else f"{status}{f' ({why})' if why else ''}. {decided}"
        if outcome == posted.shown:
            return True
        done = self._api.edit(self._message(action, now, outcome), posted.ref)
        if not isinstance(done, RetryLater):
            posted.shown = outcome
        return not isinstance(done, RetryLater)

    def _message(self, action: TrackedAction, now: int, outcome: str) -> Message:
        intent = action.intent
        others = on_the_same(self._book.actions, intent, now)
        facts = [
            ("host", intent.hostname or intent.host_id),
            *([("workload", intent.workload)] if intent.workload else []),
            ("because of", f"{intent.rule}, by the policy {intent.policy}"),
            ("ends", f"by itself in {duration_text(intent.lease)}" if intent.lease else "not by itself"),
            ("persons", f"{intent.approvals} until {clock_seconds(action.stored + intent.wait, utc=True)} UTC"),
            *([("also", f"{count_of(len(others), 'action')} on this host wait or last")] if others else []),
        ]
        title = f"{intent.type.capitalize()} {intent.text}?"
        return question(title, facts, _BUTTONS, intent.id, outcome)
