from typing import Any

import pytest

from lanner.tuning.proposals import MAX_PROPOSALS, Proposal, TunedAlert, propose
from processor.rule import RuleException

BACKUP = {"proc.codepath": "/usr/bin/tar", "proc.pname": "backup", "user.name": "root"}


def read_by(program: str, path: str, host: str = "a", **more: Any) -> TunedAlert:
    """Return an alert about a read."""
    return TunedAlert("Read", host, {"proc.codepath": program, "fd.name": path}, **more)


def conditions(proposal: Proposal) -> list[str]:
    """Return a proposal's conditions as text."""
    return [each.text for each in proposal.conditions]


def test_what_alerts_have_in_common_becomes_an_exception() -> None:
    """Files of one folder, read by one program on several hosts; the alert of another program stays."""
    alerts = [read_by("/usr/bin/tar", f"/srv/data/{name}", host) for name in "abc" for host in ("x", "y")]

    (found,) = propose([*alerts, read_by("/tmp/tar", "/srv/data/a")])

    assert conditions(found) == ["proc.codepath = /usr/bin/tar", "fd.name startswith /srv/data/"]
    assert (found.alerts, found.of_rule, found.hosts, found.marked) == (6, 7, 2, 0)


def test_too_few_witnesses_make_no_exception() -> None:
    """Four alerts may be one attack."""
    assert propose([read_by("/usr/bin/tar", "/srv/data/a")] * 4) == []
    assert len(propose([read_by("/usr/bin/tar", "/srv/data/a")] * 3, witnesses=3)) == 1


def test_a_summary_counts_as_the_alerts_that_it_replaces() -> None:
    """Otherwise the noisiest would look quiet."""
    alerts = [read_by("/usr/bin/cp", "/srv/data/b")] * 5 + [read_by("/usr/bin/tar", "/srv/data/a")] * 4

    first, second = propose([*alerts, read_by("/usr/bin/tar", "/srv/data/a", number=40)])

    assert (first.alerts, first.of_rule, conditions(first)[0]) == (44, 49, "proc.codepath = /usr/bin/tar")
    assert second.alerts == 5


def test_a_summary_is_one_witness() -> None:
    """Only the number of alerts that it replaces is known: a process may have read forty files."""
    assert propose([read_by("/usr/bin/tar", "/srv/data/a", number=40)] * 4) == []


def test_a_program_alone_is_not_excused() -> None:
    """Its alerts share nothing else."""
    alerts = [read_by("/usr/bin/python3", f"/{name}") for name in "abcdefgh"]

    assert propose(alerts) == []


def test_a_narrower_exception_is_preferred_if_it_quiets_nearly_as_much() -> None:
    """One odd alert doesn't widen it to the whole folder."""
    alerts = [read_by("/usr/bin/tar", "/srv/data/a")] * 19 + [read_by("/usr/bin/tar", "/srv/data/keys/secret")]

    (found,) = propose(alerts)

    assert (conditions(found)[1], found.alerts) == ("fd.name = /srv/data/a", 19)


DECLARED = {
    "Read": [
        RuleException("program", ("proc.codepath",), ("in",)),
        RuleException("image_file", ("container.image.repository", "fd.name"), ("=", "startswith")),
        RuleException("file_program", ("fd.name", "proc.codepath"), ("startswith", "=")),
    ]
}


def test_values_are_proposed_for_the_exception_of_the_rule_that_fits() -> None:
    """It compares the same facts; what anybody can claim may be left out, and the whole path is its own prefix."""
    claimed = {"proc.pname": "cron", "proc.cmdline": "tar x", "user.name": "root"}
    alerts = [
        TunedAlert("Read", "a", {"proc.codepath": f"/usr/bin/{program}", "fd.name": path, **claimed})
        for program, paths in (("tar", ["/srv/data/a"] * 7), ("cp", ["/srv/x/a", "/srv/x/b", "/srv/x/c"] * 2))
        for path in paths
    ]

    found = propose(alerts, declared=DECLARED)

    assert [(each.exception, conditions(each)) for each in found] == [
        ("file_program", ["fd.name startswith /srv/data/a", "proc.codepath = /usr/bin/tar"]),
        ("file_program", ["fd.name startswith /srv/x/", "proc.codepath = /usr/bin/cp"]),
    ]


def test_an_exception_of_the_rule_that_compares_less_is_not_used() -> None:
    """The image is shared too, so an exception for all images would be wider than the alerts require."""
    image = {"container.image.repository": "registry.example/backup"}
    alerts = [TunedAlert("Read", "a", {"proc.codepath": "/usr/bin/tar", "fd.name": "/srv/a", **image})] * 6

    (found,) = propose(alerts, declared=DECLARED)

    assert found.exception == ""
    assert len(found.conditions) == 3


PARENT = {"proc.codepath": "/usr/bin/mount", "proc.pcodepath": "/usr/sbin/backup"}


def test_a_program_and_its_parent_are_excused_only_where_the_rule_does_so() -> None:
    """What a shell starts never is: it may be anything."""
    alerts = [TunedAlert("Mount", "a", PARENT)] * 6
    declared = {"Mount": [RuleException("program_parent", ("proc.codepath", "proc.pcodepath"), ("=", "="))]}

    assert propose(alerts) == []
    assert [each.exception for each in propose(alerts, declared=declared)] == ["program_parent"]
    shell = [TunedAlert("Mount", "a", {**PARENT, "proc.pcodepath": "/usr/bin/bash"})] * 6
    assert propose(shell, declared=declared) == []


@pytest.mark.parametrize("field", ["fd.name", "fs.path.name"])
def test_an_exception_of_the_rule_fits_by_either_name_of_a_file(field: str) -> None:
    """Calls with a descriptor have both."""
    fields = {"proc.codepath": "/usr/bin/tar", "fd.name": "/srv/a", "fs.path.name": "/srv/a"}
    declared = {"Read": [RuleException("own", ("proc.codepath", field), ("=", "startswith"))]}

    (found,) = propose([TunedAlert("Read", "a", fields)] * 5, declared=declared)

    assert (found.exception, conditions(found)[1]) == ("own", f"{field} startswith /srv/a")


def test_different_causes_get_exceptions_of_their_own() -> None:
    """The rule with most alerts comes first, and within it the widest exception; there is a maximum."""
    alerts = [read_by(f"/usr/bin/{program}", f"/srv/{program}/x") for program in "abcdefg" for _ in range(5)]
    alerts += [read_by("/usr/bin/a", "/srv/a/x"), TunedAlert("Other", "a", BACKUP)]

    found = propose(alerts)

    assert len(found) == MAX_PROPOSALS
    assert (found[0].alerts, conditions(found[0])[0]) == (6, "proc.codepath = /usr/bin/a")


def test_alerts_that_people_marked_are_counted() -> None:
    """An exception that hides them is no good."""
    (found,) = propose([read_by("/usr/bin/tar", "/srv/data/a", is_marked=number == 2) for number in range(5)])

    assert found.marked == 1


def test_many_different_alerts_stay_bounded() -> None:
    """Each with a path of its own, as a flood makes them."""
    alerts = [read_by(f"/usr/bin/p{number % 7}", f"/srv/{number}/{number * 7}/x") for number in range(2_000)]

    assert len(propose(alerts)) <= MAX_PROPOSALS
