"""Checks that the topics of a stage exist and fit; waits for a broker that is unavailable."""

from collections.abc import Sequence

from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable
from bus.topics import TopicProblem, TopicState, check_topics
from lanner.cli.terminal.output import note
from lanner.errors import BadInput


class _Missing(BusUnavailable):
    """Topics are missing, or unknown to a broker that has just restarted."""


def topics_in_order(connection: Connection, names: Sequence[str]) -> tuple[dict[str, TopicState], list[TopicProblem]]:
    """Check the topics of a stage before it starts.

    Args:
        connection: the broker.
        names: names without prefix.

    Returns:
        The topics by full name, and the problems that aren't fatal.

    Raises:
        BadInput: Topics are missing or wrong.
        BusUnavailable: The broker can't be used, and waiting won't help.
    """
    from bus.administration import Administration  # noqa: PLC0415  needs the broker's client
    from bus.clients.retry import Retry, persist  # noqa: PLC0415
    from bus.errors.fatal import UNKNOWN_TOPIC_SECONDS  # noqa: PLC0415

    fatal: list[TopicProblem] = []

    def look() -> tuple[dict[str, TopicState], list[TopicProblem]]:
        states = Administration(connection).states([connection.topic(name) for name in names])
        findings = check_topics(connection.prefix, states, names)
        fatal[:] = [each for each in findings if each.fatal]
        if fatal and all(each.topic not in states for each in fatal):
            more = f", nor do {len(fatal) - 1} others" if len(fatal) > 1 else ""
            remedy = "`lanner topics create` creates missing topics"
            raise _Missing(f"{fatal[0].text}{more}", remedy, patience=UNKNOWN_TOPIC_SECONDS)
        return states, [each for each in findings if not each.fatal]

    try:
        found = persist(look, Retry("The start", note))
    except _Missing:
        found = {}, []
    if fatal:
        raise BadInput(
            *(f"{each.text}." for each in fatal),
            "`lanner topics create` creates missing topics and reports the others.",
        )
    return found
