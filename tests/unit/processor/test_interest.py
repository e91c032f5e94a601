"""No open that a rule matches is ever left out, and most of the others are."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.compiler.mapping import compile_mapping
from processor.interest import derive
from processor.language.parser import parse
from schemas.extract_event import directory_part, file_part
from schemas.interest import CREATE, FAILED, READ, WRITE, Interest


@dataclass(frozen=True, slots=True)
class Open:
    """One open as the kernel sees it."""

    event: str
    number: int
    """Its class."""
    raw: str
    real: str | None
    process: str


def passes(interest: Interest, act: Open) -> bool:
    """Judge as lanner.bpf.c does, slowly and plainly."""
    ways = interest.classes[act.event][act.number]
    raw = act.raw.encode()
    if not ways:
        return False
    if not raw.startswith(b"/") or len(raw) < 2 or any(part in raw for part in (b"//", b"/.", b"..")):
        return True
    if raw.endswith(b"/"):
        return True
    if ways & ways_of(interest, raw):
        return True
    return act.real is not None and bool(ways & ways_of(interest, act.real.encode()))


def ways_of(interest: Interest, path: bytes) -> int:
    """Give the ways of the longest prefix and the longest suffix in the tables, and those of anywhere."""
    ended = path + b"\0"
    prefix = max((text for text in interest.prefixes if ended.startswith(text)), key=len, default=None)
    suffix = max((text for text in interest.suffixes if path.endswith(text)), key=len, default=None)
    found = interest.anywhere
    found |= interest.prefixes[prefix] if prefix is not None else 0
    return found | (interest.suffixes[suffix] if suffix is not None else 0)


def matches(condition: str, act: Open) -> bool:
    """Judge by the rule itself, under each of the file's names."""
    judge = compile_mapping(parse(condition))
    failed = bool(act.number & FAILED)
    return any(
        judge(
            {
                "evt.type": act.event,
                "evt.is_open_read": bool(act.number & READ),
                "evt.is_open_write": bool(act.number & WRITE),
                "evt.is_open_exec": bool(act.number & CREATE),
                "evt.failed": failed,
                "evt.res": "EACCES" if failed else "SUCCESS",
                "evt.rawres": -13 if failed else 3,
                "fd.num": None if failed else 3,
                "fd.name": name,
                "fd.nameraw": act.raw,
                "fd.directory": directory_part(name),
                "fd.filename": file_part(name),
                "proc.name": act.process,
            }
        )
        for name in {act.raw, act.real}
        if name is not None
    )


PARTS = ("etc", "shadow", "passwd", "usr", "bin", "a", ".ssh", "id_rsa", "log")
paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
long_paths = st.builds(lambda path, n: path + "/x" * n + "/shadow", paths, st.integers(30, 80))
some_path = st.one_of(paths, paths, long_paths)
opens = st.builds(
    Open,
    st.sampled_from(["open", "openat"]),
    st.integers(0, 15),
    st.one_of(some_path, some_path.map(lambda path: path.replace("/", "//", 1)), some_path.map(lambda p: p + "/../x")),
    st.one_of(st.none(), some_path),
    st.sampled_from(["cat", "sshd"]),
)


def quoted(values: list[str]) -> str:
    """Write a list as rules do."""
    return "(" + ", ".join(values) + ")"


texts = st.one_of(some_path, st.sampled_from(PARTS), paths.map(lambda path: path[1:] or "x"))
name_checks = st.one_of(
    st.builds(lambda op, v: f"fd.name {op} {v}", st.sampled_from(["=", "!=", "startswith", "endswith"]), some_path),
    st.builds(lambda op, v: f"fd.name {op} {v}", st.sampled_from(["contains", "endswith", "icontains"]), texts),
    st.builds(lambda vs: f"fd.name in {quoted(vs)}", st.lists(some_path, min_size=1, max_size=3)),
    st.builds(lambda vs: f"fd.name pmatch {quoted(vs)}", st.lists(some_path, min_size=1, max_size=3)),
    st.builds(lambda v: f'fd.name glob "{v}*"', some_path),
    st.builds(lambda v: f'fd.name glob "/e?c/{v}"', st.sampled_from(PARTS)),
    st.builds(lambda op, v: f"fd.directory {op} {v}", st.sampled_from(["=", "!=", "startswith"]), paths),
    st.builds(lambda vs: f"fd.filename in {quoted(vs)}", st.lists(st.sampled_from(PARTS), min_size=1, max_size=3)),
    st.builds(lambda v: f"fd.nameraw contains {v}", st.sampled_from(["../", "//", "etc"])),
)
class_checks = st.sampled_from(
    [
        "evt.is_open_read = true",
        "evt.is_open_write = true",
        "evt.is_open_write = false",
        "evt.is_open_read != true",
        "evt.is_open_exec = true",
        "evt.failed = true",
        "evt.failed = false",
        "fd.num >= 0",
        "evt.rawres >= 0",
        "evt.res = EACCES",
        "evt.res in (EACCES, EPERM)",
        "evt.res = SUCCESS",
        "evt.type = open",
        "evt.type in (open, openat)",
        "proc.name = cat",
        "fd.name exists",
    ]
)
conditions = st.recursive(
    st.one_of(name_checks, class_checks),
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.builds(
            lambda word, parts: "(" + f" {word} ".join(parts) + ")",
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=2, max_size=4),
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=1000, deadline=None)
@given(st.lists(conditions, min_size=1, max_size=4), st.lists(opens, min_size=1, max_size=12))
def test_an_open_that_a_rule_matches_always_passes(rules: list[str], acts: list[Open]) -> None:
    """The property that everything rests on."""
    interest = derive([parse(rule) for rule in rules])

    for act in acts:
        if any(matches(rule, act) for rule in rules):
            assert passes(interest, act)


def test_a_rule_on_one_file_lets_only_that_file_through() -> None:
    """And only for reading."""
    interest = derive([parse("evt.type in (open, openat) and evt.is_open_read = true and fd.name = /etc/shadow")])

    assert passes(interest, Open("openat", READ, "/etc/shadow", "/etc/shadow", "cat"))
    assert passes(interest, Open("openat", READ, "/tmp/link", "/etc/shadow", "cat"))
    assert not passes(interest, Open("openat", READ, "/etc/passwd", "/etc/passwd", "cat"))
    assert not passes(interest, Open("openat", READ, "/etc/shadow2", "/etc/shadow2", "cat"))
    assert not passes(interest, Open("openat", WRITE, "/etc/shadow", "/etc/shadow", "cat"))
    assert not passes(interest, Open("creat", WRITE | CREATE, "/etc/shadow", "/etc/shadow", "cat"))


def test_a_negation_lets_everything_through() -> None:
    """What isn't in a set is everywhere."""
    interest = derive([parse("evt.type = open and not fd.name startswith /usr")])

    assert passes(interest, Open("open", READ, "/usr/bin/x", "/usr/bin/x", "cat"))


def test_a_rule_that_asks_for_no_path_needs_its_class_only() -> None:
    """A write anywhere is of interest, a read nowhere."""
    interest = derive([parse("evt.type = openat and evt.is_open_write = true and proc.name = cat")])

    assert passes(interest, Open("openat", WRITE, "/a/b", "/a/b", "sshd"))
    assert not passes(interest, Open("openat", READ, "/a/b", "/a/b", "cat"))


def test_a_thousand_rules_share_bits_and_stay_sound() -> None:
    """More ways than bits only widen what passes."""
    rules = [f"evt.type = openat and fd.name = /data/{n}" for n in range(1000)]
    interest = derive([parse(rule) for rule in rules])

    assert all(passes(interest, Open("openat", READ, f"/data/{n}", None, "cat")) for n in range(1000))
    assert not passes(interest, Open("openat", READ, "/data/x", None, "cat"))


def test_a_rule_on_unclean_paths_sees_them_and_no_others() -> None:
    """A traversal is sent, a plain open isn't."""
    interest = derive([parse("evt.type = openat and fd.nameraw contains ../")])

    assert passes(interest, Open("openat", READ, "/a/../etc/shadow", "/etc/shadow", "cat"))
    assert not passes(interest, Open("openat", READ, "/etc/shadow", "/etc/shadow", "cat"))


def test_openat2_is_judged_without_its_flags() -> None:
    """They lie in memory that another thread may change."""
    interest = derive([parse("evt.type = openat2 and evt.is_open_write = true and fd.name = /etc/shadow")])

    assert passes(interest, Open("openat2", 0, "/etc/shadow", None, "cat"))
