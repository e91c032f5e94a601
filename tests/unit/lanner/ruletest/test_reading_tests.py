import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanner.ruletest.reading import read_events, read_suite
from tests.unit.lanner.ruletest.stated import problem_of

SUITE = """
shared:
  base: &base {evt.type: openat, fd.name: /etc/shadow, proc: cat}
cases:
  - name: a
    given: [{<<: *base, flags: O_RDONLY}]
    expect:
      - rule: R
        priority: warning
        output_fields: {fd.name: /etc/shadow, k8s.pod.name: null}
  - name: b
    recording: acts.avro
    expect: none
    about: R
"""
WRONG = [
    ("{evt.typ: openat, proc: x}", 1, 2, "an event has a type", "add 'evt.type: ...'"),
    ("{evt.type: opent, name: /a, proc: x}", 1, 12, "'opent' is not a supported event type", "did you mean 'openat'?"),
    ("{evt.type: close}", 1, 2, "an event has a process", "add 'proc: {name: ...}'"),
    (
        "{evt.type: open, name: /a, flag: x, proc: x}",
        1,
        28,
        "an event of type open has no key 'flag'",
        "did you mean 'flags'?",
    ),
    (
        "{evt.type: open, name: /a, flags: O_RDNLY, proc: x}",
        1,
        35,
        "'flags' has no flag 'O_RDNLY'",
        "did you mean 'O_RDONLY'?",
    ),
    (
        "{evt.type: open, name: /a, flags: O_F_CREATED, proc: x}",
        *(1, 35, "'O_F_CREATED' is not a flag that a caller can pass", "the kernel side derives it from the file"),
    ),
    ("{evt.type: open, flags: O_RDONLY, proc: x}", 1, 2, "open takes a path", "add 'fd.name: ...'"),
    (
        "{evt.type: close, res: EACES, proc: x}",
        *(1, 24, "'res' takes SUCCESS, an error's name such as EACCES, or a number, not 'EACES'"),
        "did you mean 'EACCES'?",
    ),
    (
        "{evt.type: close, proc: {name: systemd-tmpfiles}}",
        *(1, 32, "a process's name has at most 15 bytes", "the kernel calls it 'systemd-tmpfile'"),
    ),
    (
        "{evt.type: close, proc: {name: x, exepth: /x}}",
        1,
        35,
        "a process has no key 'exepth'",
        "did you mean 'exepath'?",
    ),
    (
        "{evt.type: close, proc: {name: x, caps: [CAP_SYS_ADMN]}}",
        1,
        41,
        "unknown capability 'CAP_SYS_ADMN'",
        "did you mean 'CAP_SYS_ADMIN'?",
    ),
    (
        "{evt.type: connect, to: 'github.com:443', proc: x}",
        *(1, 25, "'github.com:443' is not a valid address: use ip:port, [ip6]:port, /path or @name"),
        "names aren't resolved: use the address",
    ),
    ("{evt.type: close, fd.type: fle, proc: x}", 1, 28, "unknown descriptor type 'fle'", "did you mean 'file'?"),
    ("{at: soon, evt.type: close, proc: x}", 1, 6, "'at' takes a duration such as 150ms, 2s or 1m30s, not 'soon'", ""),
    ("{evt.type: kill, sig: SIGKIL, proc: x}", 1, 23, "unknown signal 'SIGKIL'", "did you mean 'SIGKILL'?"),
    ("{evt.type: close, proc: x, proc: y}", 1, 28, "duplicate key 'proc'", ""),
    (
        "{evt.type: close, proc: x, container: {image: a, type: dokcer}}",
        *(1, 56, "unknown container runtime 'dokcer'", "known are docker, containerd, cri-o, podman"),
    ),
    ("{evt.type: close, res: 0, tuple: a, proc: x}", 1, 27, "an event of type close has no key 'tuple'", ""),
    (
        "{evt.type: connect, to: '1.2.3.4:5', tuple: a, proc: x}",
        1,
        38,
        "an event of type connect has no key 'tuple'",
        "it follows from the rest of the event",
    ),
]


@pytest.mark.parametrize(("text", "line", "column", "message", "hint"), WRONG, ids=[each[3] for each in WRONG])
def test_errors_are_reported_with_their_location_and_what_to_do(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    """As good as the errors of rule files."""
    reported = problem_of(text)

    assert reported[:3] == (line, column, message)
    assert hint in reported[3]


def test_a_suite_is_read_whole() -> None:
    """Merge keys, expected fields, recordings beside the file, and the rule file beside it."""
    suite, problems = read_suite("dir/mine_test.yaml", SUITE)

    assert problems == ()
    assert suite.rules == ("dir/mine.yaml",)
    first, second = suite.cases
    assert (first.expected[0].rule, first.expected[0].priority) == ("R", "Warning")
    assert first.expected[0].output_fields == {"fd.name": "/etc/shadow", "k8s.pod.name": "<NA>"}
    assert first.events[0].call is not None
    assert (second.recording, second.expected, second.about) == ("dir/acts.avro", (), ("R",))


def test_all_problems_are_reported_at_once() -> None:
    """People fix files, not single errors."""
    text = SUITE.replace("priority: warning", "priority: warnng").replace("about: R", "abot: R")

    _, problems = read_suite("mine_test.yaml", text + "  - name: c\n    expect: none\n")

    assert [(problem.line, problem.message) for problem in problems] == [
        (9, "unknown priority 'warnng'"),
        (14, "a case has no key 'abot'"),
        (15, "a case has events"),
    ]


def test_a_bare_list_of_cases_is_a_test_file_too() -> None:
    """Nothing else is required."""
    suite, problems = read_suite("a_test.yaml", "- {name: a, given: {evt.type: close, proc: x}, expect: none}\n")

    assert (len(suite.cases), problems) == (1, ())


@given(st.text(alphabet="{}[]:,-&*<a \n'\"|#0", max_size=60))
def test_any_text_gives_cases_or_problems(text: str) -> None:
    """Never anything else."""
    read_suite("a_test.yaml", text)
    read_events("a", text)


VALUE = st.sampled_from(
    ["x", "/a", "-1", "0", "7", "99999999999999999999", "O_RDONLY", "EACCES", "[a]", "{a: b}", "null", "1s"]
)
KEY = st.sampled_from(
    [
        "at",
        "res",
        "name",
        "fd.name",
        "fd.num",
        "fd.type",
        "to",
        "local",
        "flags",
        "mode",
        "newfd",
        "data",
        "uid",
        "container",
    ]
)
EVENT = st.sampled_from(["openat", "close", "connect", "dup2", "execve", "setuid", "bpf", "capset", "mount", "sendto"])


@given(EVENT, st.dictionaries(KEY, VALUE, max_size=5))
def test_any_values_give_an_event_or_a_problem(event: str, values: dict[str, str]) -> None:
    """What passes the reader can be built."""
    from lanner.ruletest.world import make_batch

    pairs = ", ".join(f"{key}: {value}" for key, value in values.items())
    events, problems = read_events("a", f"{{evt.type: {event}, proc: x{', ' if pairs else ''}{pairs}}}")

    assert len(events) + len(problems) == 1
    assert make_batch(events).count == len(events)
