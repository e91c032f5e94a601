"""The transformers, as conditions use them."""

from typing import Any

import pytest

from processor.compiler.checks import errors
from processor.compiler.mapping import compile_mapping
from processor.compiler.transformers import b64, basename, getopt, getopt_value, length, tolower, toupper
from processor.language.parser import parse


@pytest.mark.parametrize(
    ("words", "known", "found"),
    [
        (["-n"], "n", ["n"]),
        (["-n", ""], "n", ["n"]),
        (["-v", "-v"], "v", ["v", "v"]),
        (["-abc"], "abc", ["a", "b", "c"]),
        (["-1", "-@", "-+"], "@+1", ["1", "@", "+"]),
        (["-t", "x"], "t:", ["t", "x"]),
        (["-tx"], "t:", ["t", "x"]),
        (["-nt", "x"], "nt:", ["n", "t", "x"]),
        (["-lpe", "/bin/sh"], "lp:e:", ["l", "p", "e"]),
        (["-lpe", "/bin/sh"], "lpe:", ["l", "p", "e", "/bin/sh"]),
        (["-nat", "x"], "na:t", ["n", "a", "t"]),
        (["-t", "-1"], "t:", ["t", "-1"]),
        (["-t", ""], "t:", ["t", ""]),
        (["-t"], "t:", [""]),
        (["-t"], ":t:", [""]),
        (["-t", "x"], "tt:", ["t", "x"]),
        (["-x", "-n"], "n", ["?", "n"]),
        (["-n:"], "n:", ["n", ":"]),
        (["-:"], ":", ["?"]),
        (["-n"], "", ["?"]),
        (["-n", "--", "-t"], "nt", ["n"]),
        (["--", "-n"], "n", []),
        (["--all", "-n"], "n", ["n"]),
        (["file", "-n"], "n", []),
        (["-n", "file", "-t"], "nt", ["n"]),
        (["-", "-n"], "n", []),
        (["", "-n"], "n", []),
        ([("-n", "-t"), "x"], "nt:", ["n", "t", "x"]),
    ],
)
def test_options_of_a_command_line(words: list[str], known: str, found: list[str]) -> None:
    """The options before the first other word are listed, each followed by its value."""
    assert getopt(tuple(words), known) == tuple(found)


@pytest.mark.parametrize(
    ("words", "letter", "value"),
    [
        (["-n", "-t", "x"], "t", "x"),
        (["-n", "-t", "x"], "n", "n"),
        (["-t", "x", "-t", "y"], "t", "y"),
        (["-t", "x", "-t"], "t", ""),
        (["-t?"], "t", "?"),
        (["-x"], "?", None),
        (["-n"], "t", None),
        (["file", "-n"], "n", None),
    ],
)
def test_the_value_of_one_option(words: list[str], letter: str, value: str | None) -> None:
    """The last occurrence counts; an option that is absent has no value."""
    assert getopt_value(tuple(words), "nt:", letter) == value


@pytest.mark.parametrize("result", [getopt((None,), "n"), getopt(("-n",), None), getopt_value((None,), "n", "n")])
def test_options_of_a_missing_word_are_missing(result: object) -> None:
    """No result is made of the words that are there."""
    assert result is None


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("aGVsbG8=", "hello"),
        ("aGVsbG8", "hello"),
        ("aGVsbG8==", "hello"),
        ("d29ybGQgIQ==", "world !"),
        ("", ""),
        ("w6k=", "é"),
        ("/w==", "\udcff"),
        ("YWIAY2Q=", "ab"),
        ("aGVsbG9=", None),
        ("aGVsbG8===", None),
        ("aGVs bG8=", None),
        ("aGVs\nbG8=", None),
        ("aGVsb", None),
        ("é", None),
    ],
)
def test_base64(text: str, decoded: str | None) -> None:
    """Padding is optional, and bits behind the last byte must be zero."""
    assert b64(text) == decoded


def test_transformers_of_one_text_apply_to_each_element_of_a_list() -> None:
    """A list stays a list, and one that is missing stays so."""
    assert toupper(basename(("/usr/bin/cat", "sh", "/"))) == ("CAT", "SH", "")
    assert tolower(("A", "B")) == ("a", "b")
    assert b64(("aGVsbG8=", "eA")) == ("hello", "x")
    assert b64(("aGVsbG8=", "!")) is None
    assert [toupper(()), basename(()), length(()), toupper(None)] == [None] * 4
    assert length(("a", "b")) == 2


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("""join(fd.name, (fd.name, "b")) = /tmp/a/tmp/ab""", True),
        ("""join("-", (fd.name, "x", toupper(fd.name))) = /tmp/a-x-/TMP/A""", True),
        ("""join(",", (evt.num, evt.num)) = "1,1" """, True),
        ("""join(",", ()) = "" """, True),
        ("""join(",", (fd.name, proc.name)) exists""", False),
        ("""concat(proc.aname[1], "x") = sshx""", True),
        ("""concat(fd.name, proc.name) exists""", False),
        ("""toupper(join("-", (fd.name, "b"))) = /TMP/A-B""", True),
        ("""toupper(tolower(concat(fd.name, "b"))) startswith /TMP""", True),
        ("""len(join("-", ("aaa", "bbb"))) = 7""", True),
        ("""b64(join("W", ("YWFhL", "JiYg"))) = "aaa-bbb" """, True),
        ("""basename(concat(fd.name, "/b")) = b""", True),
        ("""toupper(getopt(("-a", "x"), "a:")) in ("A", "X")""", True),
        ("""basename(getopt(("-a", "/etc/x"), "a:")) intersects ("x")""", True),
        ("""len(getopt(("-a", "-b"), "ab")) = 2""", True),
        ("""getopt(("-ab"), fd.filename)[b] = b""", True),
        ("""getopt(("-n"), "n") in ("n", "t")""", True),
        ("""getopt(("-nt"), "nt") in ("n")""", False),
        ("""getopt(("x"), "n") in ("n")""", True),
        ("""getopt(("x"), "n") intersects ("n")""", False),
        ("""getopt(("x"), "n") exists""", True),
        ("""getopt((proc.name), "n") exists""", False),
        ("""getopt(("-n"), "nt")[t] exists""", False),
    ],
)
def test_transformers_in_conditions(condition: str, expected: bool) -> None:
    """Transformers of several values combine with each other and with those of one."""
    event: dict[str, Any] = {"fd.name": "/tmp/a", "fd.filename": "ab", "evt.num": 1, "proc.aname[1]": "ssh"}
    tree = parse(condition)

    assert errors(tree) == []
    assert compile_mapping(tree)(event) is expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("""join("-", "a", "b") = x""", "join() requires exactly 2 arguments: separator and list"),
        ("""join(fd.types, ("a")) = x""", "join() first argument (separator) must be a single value, not a list"),
        ("""join("a", "b") = x""", "join() second argument must be a list"),
        ("""concat("a") = x""", "concat() requires at least 2 arguments"),
        ("""concat("a", ("b")) = x""", "concat() arguments must be strings"),
        ("""concat("a", proc.pid) = x""", "concat() arguments must be strings"),
        ("""getopt(("a"), "b", "c") in (x)""", "getopt() requires exactly 2 arguments: args list and optstring"),
        ("""getopt(proc.args, "b") in (x)""", "getopt() first argument must be a list"),
        ("""getopt(("a"), ("b")) in (x)""", "getopt() second argument (optstring) must be a single value"),
        ("""getopt(("a"), proc.pid) in (x)""", "getopt() arguments must be strings"),
        ("""getopt(("a"), "b")[""] = x""", "getopt() field argument must be a single option character"),
        ("""concat("a", "b")[x] = x""", "transformer 'concat' does not support field arguments"),
        ("""toupper(len(fd.name)) = x""", "type 'UINT64' is not supported by 'toupper' transformer"),
        ("""toupper(proc.aname[1]) = x""", "field 'proc.aname' does not support transformers"),
    ],
)
def test_wrong_arguments(condition: str, message: str) -> None:
    """The condition does not compile, for one reason."""
    found = errors(parse(condition))

    assert len(found) == 1
    assert message in found[0].message
