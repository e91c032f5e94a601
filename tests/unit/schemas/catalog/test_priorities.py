from typing import get_args

import pytest

from schemas.catalog.priorities import BY_NAME, SEVERITY, Priority, PriorityName, by_priority, parse_priority


def test_severities_are_syslog_s() -> None:
    """Falco's priorities are syslog's severities by name, RFC 5424."""
    assert list(SEVERITY.items()) == [
        ("Emergency", 0),
        ("Alert", 1),
        ("Critical", 2),
        ("Error", 3),
        ("Warning", 4),
        ("Notice", 5),
        ("Informational", 6),
        ("Debug", 7),
    ]


@pytest.mark.parametrize(
    ("text", "priority"),
    [
        ("Warning", Priority.WARNING),
        ("CRITICAL", Priority.CRITICAL),
        ("INFO", Priority.INFORMATIONAL),
        ("informational", Priority.INFORMATIONAL),
        ("warn", None),
        ("", None),
    ],
)
def test_a_priority_is_parsed_by_its_full_name(text: str, priority: Priority | None) -> None:
    """Case doesn't matter; of short names, only `info` is known."""
    assert parse_priority(text) is priority


def test_every_name_has_a_priority() -> None:
    """Settings and options accept the same names."""
    assert tuple(BY_NAME) == get_args(PriorityName)
    assert set(BY_NAME.values()) == set(Priority)


def test_a_table_lacks_no_priority() -> None:
    """A value too few or too many is an error at import."""
    assert by_priority(*"abcdefgh")["Debug"] == "h"
    with pytest.raises(ValueError, match="shorter"):
        by_priority(1, 2, 3)
