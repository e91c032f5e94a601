import time
from dataclasses import replace

import pytest

from lanner.console.fleet.ports import LocalHost, RuleFiles, facts_of, has_name
from lanner.errors import BadInput
from lanner.ruleset.active import ActiveRules
from lanner.ruleset.load import load_or_fail
from lanner.ruleset.published import published_of
from lanner.settings import load_settings
from lanner.wiring.published import active_of_published
from lanner.wiring.rules import find_rules
from schemas.catalog.priorities import Priority
from tests.golden.batches import batch_0_1


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("web-1.example", "", True),
        ("web-1.example", "EXAMPLE", True),
        ("web-1.example", "db", False),
        ("web-1.example", "web-*", True),
        ("web-1.example", "*.example", True),
        ("web-1.example", "w*1*e", True),
        ("web-1.example", "web", True),
        ("web-1.example", "eb-*", False),
        ("web-1.example", "web-*.exam", False),
        ("aba", "ab*ba", False),
        ("a.c", "a?c*", False),
        ("[x]", "[*]", True),
    ],
)
def test_a_pattern_selects_names(name: str, pattern: str, expected: bool) -> None:
    """Only `*` is special."""
    assert has_name(name, pattern) is expected


def test_a_hostile_pattern_takes_no_time() -> None:
    """Whoever can open the page can choose it; by trying all ways to match it, this would never end."""
    for _ in range(1000):
        assert not has_name("a" * 250, "*a" * 99 + "b*")


def test_this_host_is_known_once_it_has_made_a_batch() -> None:
    """From the process itself, without a broker."""
    local = LocalHost(Priority.DEBUG)
    assert not local.hosts().read_at
    local.see(batch_0_1())
    known = local.hosts()
    (host,) = known.hosts
    assert host.name == batch_0_1().hostname
    assert abs(host.seen - time.time() * 1000) < 5000
    assert known.read_at >= host.seen


SETTINGS = load_settings(None, {}, [])
ACTIVE = load_or_fail(find_rules(SETTINGS), warnings=False)


def test_the_facts_of_rules_are_those_of_their_files() -> None:
    """A rule below the lowest priority is not evaluated, so it is off."""
    facts = {each.name: each for each in facts_of(ACTIVE, Priority.DEBUG)}
    rule = facts["Read sensitive file untrusted"]
    assert rule.enabled
    assert "sensitive_file and not trusted_reader" in rule.condition
    assert rule.place.partition(":")[0].endswith("lanner_rules.yaml")
    assert {each.name for each in facts_of(ACTIVE, Priority.CRITICAL) if each.enabled} == {
        each.name for each in ACTIVE.rules if each.enabled and each.priority <= Priority.CRITICAL
    }


def test_facts_are_made_once_for_rules_that_stay() -> None:
    """A page that is read again doesn't print all conditions again."""
    current = [ACTIVE]
    files = RuleFiles(Priority.DEBUG, lambda: current[0], "here")
    first = files.known()
    assert files.known() is first
    current[0] = replace(ACTIVE)
    assert files.known() is not first


def test_rules_that_cannot_be_loaded_are_explained() -> None:
    """The page has the reason."""

    def failing() -> ActiveRules:
        raise BadInput("rules.yaml:1: no such thing")

    assert "no such thing" in RuleFiles(Priority.DEBUG, failing, "here").known().problem


def test_a_published_version_has_its_own_switches() -> None:
    """Those of the publisher count, not those of the console's host."""
    publisher = load_settings(None, {}, ["rules=[{disable: {rule: 'Read sensitive file untrusted'}}]"])
    rules = published_of(find_rules(publisher), "host-1", "").named(1)
    off = {rule.name for rule in active_of_published(SETTINGS, rules).rules if not rule.enabled}
    assert "Read sensitive file untrusted" in off
