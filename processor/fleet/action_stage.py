"""The stage that owns budgets of action policies: requests come in, signed intents and alerts go out.

Pure. The state of a partition is stored in a changelog topic, as that of stateful rules, so the next owner continues
with what was spent: no request is decided twice by different budgets.
"""

from collections.abc import Callable, Iterable, Mapping

from bus.connection import fault_text
from bus.messages import Headers
from bus.topics import ACTION_INTENTS
from foundation.caches import BoundedMap
from processor.actions.requests import (
    ActionRequest,
    PolicyBudgets,
    ReportedResult,
    action_result,
    decode_request,
    fuse_blown,
)
from processor.correlation.groups import Key
from processor.correlation.stage import StageResult
from processor.correlation.state import StateChange
from schemas.action import ActionIntent, BadActionRecord
from schemas.alert import Alert

_MAX_SEEN = 10_000
Sign = Callable[[ActionIntent], tuple[bytes, bytes, Headers]]
"""Returns key, value and headers of an intent's message. Raises BadActionRecord."""


class ActionStage:
    """The budgets of one process: those of each partition that it owns."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._budgets: dict[int, PolicyBudgets] = {}
        self._changed: dict[int, dict[str, int]] = {}
        """By partition and policy, the offset of the message that changed its budget last."""
        self._seen: BoundedMap[tuple[str, str, int], None] = BoundedMap(_MAX_SEEN)
        """The results about which an alert was sent."""
        self.lost = 0
        """Partitions whose budgets were lost when they were taken over."""

    def begin(self, partition: int, blobs: Iterable[bytes], applied: int) -> int:  # noqa: ARG002  of the protocol
        """Take over a partition with its stored state; return the number of values that can't be read."""
        budgets, unreadable = PolicyBudgets(), 0
        for blob in blobs:
            try:
                budgets.load(blob)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                unreadable += 1
        self._budgets[partition], self._changed[partition] = budgets, {}
        return unreadable

    def take(self, partition: int, key: bytes | None, value: bytes | None, appended: int, offset: int) -> StageResult:
        """Decide about one request, or reset a fuse, in the order of the partition.

        Args:
            partition: of the topic.
            key: the policy's name.
            value: as `encode_request` or `encode_reset` made it.
            appended: when the broker appended the message, ns since the epoch: the clock.
            offset: of the message; returned as the cause of its changes.
        """
        budgets = self._budgets[partition]
        try:
            policy = (key or b"").decode()
            found = decode_request(value or b"")
            if isinstance(found, int):
                budgets.reset(policy, found)
                self._changed[partition][policy] = offset
                return StageResult()
            if isinstance(found, ReportedResult):
                return StageResult(self._reported(found))
            if found.intent.policy != policy:
                return StageResult(refused="its key is not its policy")
            return self._decided(budgets, found, appended, (partition, offset))
        except (BadActionRecord, UnicodeDecodeError) as error:
            return StageResult(refused=f"not decodable: {error}")
        except Exception as error:  # noqa: BLE001  one message must not stop the others
            return StageResult(refused=f"evaluation failed: {fault_text(error)}")

    def _decided(
        self, budgets: PolicyBudgets, request: ActionRequest, now: int, position: tuple[int, int]
    ) -> StageResult:
        partition, offset = position
        policy = request.intent.policy
        was_blown = budgets.blown(policy)
        intent = budgets.take(request, now)
        if intent is None:
            return StageResult()
        self._changed[partition][policy] = offset
        alerts: tuple[Alert, ...] = ()
        if (why := budgets.blown(policy)) and not was_blown:
            alerts = (fuse_blown(intent, why),)
        key, value, headers = self._sign(intent)
        return StageResult(alerts, sent=((ACTION_INTENTS, key, value, headers),))

    def _reported(self, found: ReportedResult) -> tuple[Alert, ...]:
        # Each processor passes each result on; after another took over, the alert has the same id.
        result = found.result
        key = (result.intent, result.outcome, result.at)
        if key in self._seen:
            return ()
        self._seen.put(key, None)
        return (action_result(result, found.intent),)

    def take_repaired(self) -> int:
        """Return 0: times are the broker's."""
        return 0

    def take_changes(self, partition: int) -> list[StateChange]:
        """Return the changes to write to a partition's table since the last call."""
        changed, self._changed[partition] = self._changed[partition], {}
        budgets = self._budgets[partition]
        return [
            StateChange((policy, ()), policy.encode(), budgets.dump(policy), cause) for policy, cause in changed.items()
        ]

    def everything(self, partition: int) -> Mapping[bytes, bytes]:
        """Return the whole content of a partition's table."""
        budgets = self._budgets[partition]
        return {policy.encode(): budgets.dump(policy) for policy in budgets.policies}

    def forget(self, partition: int, key: Key) -> None:
        """Drop the budget of a policy whose state the table refused."""
        self._budgets[partition].forget(key[0])

    def remembers(self, partition: int) -> bool:  # noqa: ARG002  of the protocol
        """Return False: nothing ends by the time."""
        return False

    def drop_all(self) -> None:
        """Drop everything: partitions are being reassigned."""
        self._budgets.clear()
        self._changed.clear()
