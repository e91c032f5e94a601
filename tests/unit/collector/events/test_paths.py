import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.events.texts import absolute


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/home/ann", "notes", "/home/ann/notes"),
        ("/home/ann", "./notes", "/home/ann/notes"),
        ("/home/ann", "../bob/notes", "/home/bob/notes"),
        ("/home/ann", "../../../../etc/shadow", "/etc/shadow"),
        ("/home/ann", "", "/home/ann"),
        ("/home/ann", ".", "/home/ann"),
        ("/home/ann", "..", "/home"),
        ("/", "etc", "/etc"),
        ("/", "..", "/"),
        ("/home/ann/", "notes", "/home/ann/notes"),
        ("/home/ann", "/etc/passwd", "/etc/passwd"),
        (None, "/etc/passwd", "/etc/passwd"),
        (None, "/etc//passwd", "/etc/passwd"),
        (None, "//etc/passwd", "/etc/passwd"),
        (None, "///", "/"),
        (None, "/", "/"),
        (None, "/.", "/"),
        (None, "/..", "/"),
        (None, "/etc/", "/etc"),
        (None, "/etc/./passwd", "/etc/passwd"),
        (None, "/etc/ssl/../passwd", "/etc/passwd"),
        (None, "/etc/...", "/etc/..."),
        (None, "/etc/.hidden", "/etc/.hidden"),
        (None, "/etc/passwd.", "/etc/passwd."),
        (None, "/etc/..passwd", "/etc/..passwd"),
        (None, "/tmp/\udcff/../x", "/tmp/x"),
        (None, "notes", None),
        (None, "", None),
        ("/home/ann", None, None),
        (None, None, None),
    ],
)
def test_a_name_is_joined_and_cleaned(directory: str | None, path: str | None, expected: str | None) -> None:
    """Unknown parts make it unknown; the parent of the root is the root."""
    assert absolute(directory, path) == expected


PART = st.sampled_from(["", ".", "..", "...", "a", ".a", "a.", "etc", "\udcff"])
PATH = st.lists(PART, max_size=6).map("/".join)


@given(directory=PATH.map(lambda path: "/" + path), path=PATH)
def test_any_name_is_what_the_standard_library_makes_of_it(directory: str, path: str) -> None:
    """Except that it keeps two leading slashes, as POSIX allows."""
    joined = path if path.startswith("/") else f"{directory}/{path}"

    assert absolute(directory, path) == posixpath.normpath("/" + joined.lstrip("/"))


@given(directory=PATH.map(lambda path: "/" + path), path=PATH)
def test_a_clean_name_stays_as_it_is(directory: str, path: str) -> None:
    """Cleaning is idempotent."""
    once = absolute(directory, path)

    assert absolute(None, once) == once
