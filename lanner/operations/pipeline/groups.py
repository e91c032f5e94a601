"""The queues of a fleet: what waits for its consumer groups at the broker."""

from bus.clients.reachability import check_reachable
from bus.connection import Connection
from bus.groups.lag import NOTIFIER_GROUPS, GroupLag, GroupLags
from bus.topics import PROCESSOR_GROUP
from lanner.operations.pipeline.queues import PipelineQueue

REACH_SECONDS = 1.0


def group_queues(connection: Connection) -> list[PipelineQueue]:
    """Return what waits for each group. Raises BusUnavailable, within a second if no broker takes connections."""
    check_reachable(connection, REACH_SECONDS)
    return [_queue(each) for each in GroupLags(connection).read()]


def _queue(lag: GroupLag) -> PipelineQueue:
    if lag.group == PROCESSOR_GROUP:
        return PipelineQueue("processor", lag.group, lag.topic, lag.waiting, lag.oldest, lag.members)
    if lag.group.startswith(NOTIFIER_GROUPS):
        name = lag.group.removeprefix(NOTIFIER_GROUPS)
        return PipelineQueue("sink", name, lag.topic, lag.waiting, lag.oldest, lag.members)
    return PipelineQueue("reader", lag.group, lag.topic, lag.waiting, lag.oldest, lag.members)
