from typing import Any

import pytest

from lanner.tuning.proposals import FieldCondition, conditions_of, is_narrow, most_specific


def texts(fields: dict[str, Any]) -> set[str]:
    """Return the conditions that these fields meet, as text."""
    return {each.text for each in conditions_of(fields)}


def test_paths_are_generalized_to_numbers_and_folders() -> None:
    """Neither to a single folder below the root nor to a pattern that replaces words."""
    assert texts({"fd.name": "/var/log/app-12/part3.log"}) == {
        "fd.name = /var/log/app-12/part3.log",
        "fd.name glob /var/log/app-[0-9]*/part[0-9]*.log",
        "fd.name startswith /var/log/",
        "fd.name startswith /var/log/app-12/",
    }


def test_a_program_is_known_by_the_path_of_its_code_alone() -> None:
    """Whoever starts a program chooses its name, and what runs in a program whose environment others changed."""
    program = {"proc.name": "cat", "proc.exepath": "/usr/bin/cat"}

    assert texts({"proc.codepath": "/usr/bin/cat", **program}) == {"proc.codepath = /usr/bin/cat"}
    assert texts(program) == set()


@pytest.mark.parametrize("path", ["/usr/bin/python3.11", "/bin/sh", "/usr/bin/sudo", "/lib64/ld-linux-x86-64.so.2"])
def test_a_program_that_does_what_it_is_told_is_no_reason_for_an_exception(path: str) -> None:
    """Neither as the program nor as what started it."""
    assert texts({"proc.codepath": path, "proc.pcodepath": path}) == set()
    assert texts({"proc.codepath": "/usr/bin/shadow2"}) == {"proc.codepath = /usr/bin/shadow2"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fd.name", "10.0.0.1:4000->10.0.0.2:443"),
        ("fd.sport", 51000),
        ("fd.sport", "?"),
        ("proc.cmdline", "login [redacted]"),
        ("proc.cmdline", "a\ufffdb"),
        ("proc.cmdline", "a\nb"),
        ("proc.cmdline", "x" * 256),
        ("proc.pname", None),
        ("proc.pname", "<NA>"),
        ("user.name", ["root"]),
        ("evt.num", 7),
    ],
)
def test_what_an_exception_cannot_use_is_left_out(field: str, value: object) -> None:
    """Connections, random ports, what was replaced, control characters, long texts, missing values, other fields."""
    assert texts({field: value}) == set()


def test_a_value_with_pattern_characters_is_not_made_a_pattern() -> None:
    """Its own asterisk would match anything."""
    assert texts({"proc.cmdline": "ls *.1"}) == {"proc.cmdline = ls *.1"}


def test_a_path_that_a_call_names_and_opens_is_one_fact() -> None:
    """Calls with a descriptor have both fields; another path is a fact of its own."""
    both = conditions_of({"fd.name": "/srv/a", "fs.path.name": "/srv/a", "proc.codepath": "/bin/x"})
    link = conditions_of({"fd.name": "/srv/a", "fs.path.name": "/tmp/link", "proc.codepath": "/bin/x"})

    assert [each.field for each in most_specific(both)] == ["proc.codepath", "fd.name"]
    assert [each.field for each in most_specific(link)] == ["proc.codepath", "fd.name", "fs.path.name"]


def test_the_most_specific_condition_of_each_field_is_chosen() -> None:
    """An equal value before a pattern, a pattern before a folder, a long folder before a short one."""
    conditions = conditions_of({"fd.name": "/a/b/c/1", "proc.codepath": "/bin/x"})

    assert [each.text for each in most_specific(conditions)] == ["proc.codepath = /bin/x", "fd.name = /a/b/c/1"]
    folders = [each for each in conditions if each.operator == "startswith"]
    assert most_specific(folders) == (FieldCondition("fd.name", "startswith", "/a/b/c/"),)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["proc.codepath", "fd.name"], True),
        (["container.image.repository", "proc.codepath"], True),
        (["proc.codepath", "user.name"], False),
        (["proc.codepath"], False),
        (["proc.codepath", "proc.pcodepath"], False),
        (["fd.name", "proc.pcodepath"], False),
    ],
)
def test_an_exception_names_a_program_and_what_it_does_or_where(fields: list[str], *, expected: bool) -> None:
    """A program alone, or with a user or a parent, would excuse all that it does."""
    assert is_narrow(fields) is expected


def test_a_parent_is_enough_where_the_author_of_a_rule_chose_it() -> None:
    """Such rules are about what a server starts."""
    assert is_narrow(["proc.codepath", "proc.pcodepath"], is_declared=True)
    assert not is_narrow(["proc.codepath", "user.name"], is_declared=True)
