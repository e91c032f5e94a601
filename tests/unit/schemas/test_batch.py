import re
import struct
from dataclasses import fields

import pytest

from schemas.batch import (
    ARGUMENT_COLUMNS,
    EVENT_COLUMNS,
    NUMBER_COLUMNS,
    STRING_COLUMNS,
    EventBit,
    Process,
    empty_columns,
)
from schemas.encoding.batch import EVENT_BATCH_SCHEMA
from schemas.encoding.columns import KNOWN_BITS, LISTS, NULLABLE, PROCESS_COLUMNS
from schemas.encoding.columns import PROCESS_INDEX_COLUMNS as INDEX_COLUMNS

AVSC = {field["name"][2:]: field for field in EVENT_BATCH_SCHEMA["fields"] if field["name"].startswith("c_")}
PROCESSES = {field["name"][2:]: field for field in EVENT_BATCH_SCHEMA["fields"] if field["name"].startswith("p_")}
CODES = {"u8": "B", "i16": "h", "i32": "i", "u32": "I", "i64": "q", "u64": "Q"}


def test_schema_and_code_know_the_same_columns() -> None:
    """Schema and code list the columns in the same order."""
    assert list(AVSC) == [*EVENT_COLUMNS, *ARGUMENT_COLUMNS]
    assert EVENT_COLUMNS.keys() == {*NUMBER_COLUMNS, *STRING_COLUMNS}


@pytest.mark.parametrize("name", AVSC)
def test_a_column_is_of_the_type_that_its_doc_states(name: str) -> None:
    """A column's doc states its type, since readers in other languages have nothing else."""
    field = AVSC[name]
    code = {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}[name]

    assert (field["type"], field["default"]) == ("bytes", "")
    found = re.match(r"([iu]\d\d) an (event|argument)", field["doc"])
    assert found is not None
    assert CODES[found[1]] == code
    assert struct.calcsize(f"<{code}") * 8 == int(found[1][1:])
    assert found[2] == ("argument" if name.startswith("arg_") and name != "arg_start" else "event")
    assert ("index into texts" in field["doc"]) == (name in STRING_COLUMNS)


def test_schema_and_code_know_the_same_facts_of_processes() -> None:
    """Each attribute of a process has a column; the columns of counts and `known` are extra."""
    assert PROCESSES.keys() == PROCESS_COLUMNS.keys()
    assert {field.name for field in fields(Process)} == PROCESSES.keys() - {"known", "arg_count", "env_count"}


@pytest.mark.parametrize("name", PROCESSES)
def test_a_column_of_processes_is_what_its_doc_states(name: str) -> None:
    """The doc states the type, the table of an index, and the bit of `known`."""
    field = PROCESSES[name]

    assert (field["type"], field["default"]) == ("bytes", "")
    found = re.match(r"([iu]\d+) an? (process|argument|variable)", field["doc"])
    assert found is not None
    assert CODES[found[1]] == PROCESS_COLUMNS[name]
    assert (found[2] == "process") == (name not in LISTS)
    assert ("index into texts" in field["doc"]) == (name in INDEX_COLUMNS)
    reported = re.search(r"Known where bit (\d+) of p_known is set", field["doc"])
    fact = {counts: listed for listed, counts in LISTS.items()}.get(name, name if name in NULLABLE else "")
    assert (1 << int(reported[1]) if reported else None) == KNOWN_BITS.get(fact)


def test_empty_columns_are_ready_to_grow() -> None:
    """Only arg_start has one more element than there are events."""
    assert {name: (column.typecode, len(column)) for name, column in empty_columns().items()} == {
        **{name: (code, 0) for name, code in {**EVENT_COLUMNS, **ARGUMENT_COLUMNS}.items()},
        "arg_start": ("I", 1),
    }


def test_the_bits_of_an_event_are_apart_and_fit() -> None:
    """Each flag is one bit of a u32."""
    values = [int(bit) for bit in EventBit]

    assert len(set(values)) == len(EventBit.__members__)
    assert all(value.bit_count() == 1 and value < 1 << 32 for value in values)
