import pytest

from processor.loading import RuleFile, load_rules
from processor.loading.difference import action_powers

BASE = """
- macro: opened
  condition: evt.type = openat and fd.name startswith /etc
- rule: Alpha
  desc: one
  condition: opened and proc.name = cat
  output: a
  priority: NOTICE
- rule: Beta
  desc: two
  condition: evt.type = connect
  output: b
  priority: INFO
- action: Freeze
  type: freeze
  target: container
  state: ask
  approvals: 2
  lease: 10m
  rules: [Alpha]
  never: {namespaces: [kube-system], images: [debug]}
  budget: {per_hour: 5}
"""


def wider(old: str, new: str) -> tuple[str, ...]:
    """Return in which respects the policy may do more after a text of the file was replaced."""
    assert old in BASE
    before, after = (load_rules([RuleFile("x.yaml", text)]) for text in (BASE, BASE.replace(old, new)))
    assert not before.errors
    assert not after.errors, after.errors
    return action_powers(after)["Freeze"].wider_than(action_powers(before)["Freeze"])


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        ("state: ask\n  approvals: 2", "state: do", "state do instead of ask"),
        ("approvals: 2", "approvals: 1", "1 instead of 2 approvals"),
        ("type: freeze", "type: isolate", "isolate container instead of freeze container"),
        ("lease: 10m", "lease: 11m", "a longer lease"),
        ("per_hour: 5", "per_hour: 6", "a larger budget"),
        (", images: [debug]", "", "never is shorter"),
        ("[Alpha]", "[Alpha, Beta]", "rules that are new to it, or may alert on more: Beta"),
        ("/etc", "/", "rules that are new to it, or may alert on more: Alpha"),
        (" and proc.name = cat", "", "rules that are new to it, or may alert on more: Alpha"),
    ],
)
def test_what_a_policy_may_do_more_is_named(old: str, new: str, how: str) -> None:
    """Also by a rule, or a macro of it, that may alert on more."""
    assert wider(old, new) == (how,)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("state: ask\n  approvals: 2", "state: would"),
        ("approvals: 2", "approvals: 3"),
        ("lease: 10m", "lease: 9m"),
        ("per_hour: 5", "per_hour: 4"),
        ("[debug]", "[debug, other]"),
        ("proc.name = cat", "proc.name = cat and not user.name = ann"),
        ("desc: one\n", "desc: one\n  exceptions: [{name: known, fields: [fd.name], values: [[/a]]}]\n"),
        ("output: a", "output: another"),
    ],
)
def test_less_needs_nothing(old: str, new: str) -> None:
    """An exception leaves fewer alerts; texts decide nothing."""
    assert wider(old, new) == ()


def test_a_digest_is_that_of_a_policy_with_its_rules() -> None:
    """What people read, and other rules, don't change it."""
    texts = (BASE, BASE.replace("desc: two", "desc: z"), BASE.replace("connect", "bind"), BASE.replace("cat", "dog"))
    first, *others = (action_powers(load_rules([RuleFile("x.yaml", text)]))["Freeze"].digest for text in texts)
    assert [each == first for each in others] == [True, True, False]
