"""Whether the topics that a stage needs are there, said before it starts."""

from collections.abc import Sequence

from bus.connection import Connection
from lanner.failures import BadInput


def check_topics(connection: Connection, names: Sequence[str]) -> None:
    """Check that topics exist. Raises BadInput, and BusUnavailable where there is no broker."""
    from bus.administration import Administration  # noqa: PLC0415  needs the broker's client
    from bus.topics import judge  # noqa: PLC0415

    states = Administration(connection).states([connection.topic(name) for name in names])
    wrong = [each.text for each in judge(connection.prefix, states, names) if each.fatal]
    if wrong:
        raise BadInput(
            *(f"{text}." for text in wrong), "`lanner topics create` makes what is missing and says what to do."
        )
