"""The writers of each call's arguments, chosen once, at import."""

from collector.events.arguments.facts import FACTS
from collector.events.arguments.memory import MEMORY, MEMORY_AT, MEMORY_WITH_TABLE
from collector.events.arguments.registers import REGISTERS, REGISTERS_WITH_TABLE
from collector.events.arguments.values import Writer
from collector.events.system_calls import CALLS, Argument

_WITH_TABLE = {**REGISTERS_WITH_TABLE, **MEMORY_WITH_TABLE}
_AT_INDEX = {**REGISTERS, **MEMORY_AT}
_OF_CALL = {**FACTS, **MEMORY}


def _writer(argument: Argument) -> Writer:
    if argument.table and argument.kind in _WITH_TABLE:
        return _WITH_TABLE[argument.kind](argument.index, argument.table)
    if argument.index >= 0:
        return _AT_INDEX[argument.kind](argument.index)
    return _OF_CALL[argument.kind]


_WRITERS = tuple(tuple(_writer(argument) for argument in call.arguments) for call in CALLS)
_NAMES = tuple(tuple(argument.name for argument in call.arguments) for call in CALLS)


def writers_of(number: int) -> tuple[Writer, ...]:
    """Return the argument writers of a call by its index in CALLS, in Falco's order."""
    return _WRITERS[number]


def argument_names(number: int) -> tuple[str, ...]:
    """Return the names of a call's arguments by its index in CALLS."""
    return _NAMES[number]
