import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.console.store import listing
from lanner.console.store.filters import Filters
from lanner.console.store.reading import AlertReader
from lanner.console.store.record import OTHER_TEXTS, record_of
from lanner.console.store.rows import Mark
from lanner.console.store.tables import VERSION
from lanner.console.store.view import MAX_TEXTS, AlertView, ViewLimits
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import HOUR, NOW, filled, found

ALL = Filters(state="all", since="all")


def test_alerts_of_one_kind_are_one_row(tmp_path: Path) -> None:
    """The row has their number, their hosts, the first and the last."""
    alerts = [found(number, hostname=f"web-{number % 3}") for number in range(30)]
    _, reader = filled(tmp_path, [*alerts, found(5, id="other", rule="Other", priority="Error")])
    page = reader.groups(ALL, NOW)
    assert (page.total, page.alerts) == (2, 31)
    row = page.groups[0]
    assert (row.rule, row.count, row.hosts, row.workload) == ("Read sensitive file", 30, 3, "web-*")
    assert (row.last, row.first) == (alerts[0].time // 1000, alerts[-1].time // 1000)
    assert sum(row.sparkline) == 30
    assert row.text == "A file was read | file=/etc/shadow pid=*"
    assert row.is_new


@pytest.mark.parametrize(
    ("query", "rules"),
    [
        ({"priority": "error"}, {"B"}),
        ({"rule": "A"}, {"A"}),
        ({"rule": "*"}, {"A", "B"}),
        ({"tag": "container"}, {"B"}),
        ({"technique": "T1003"}, {"A"}),
        ({"technique": "t1003.008"}, {"A"}),
        ({"workload": "*nginx"}, {"B"}),
        ({"namespace": "prod"}, {"B"}),
        ({"image": "docker.io/*"}, {"B"}),
        ({"host": "db-*"}, {"B"}),
        ({"host": "[dw]*"}, set()),
        ({"user": "root"}, {"A"}),
        ({"q": "shadow"}, {"A"}),
        ({"q": "/etc/shadow"}, {"A"}),
        ({"q": "curl evil"}, {"B"}),
        ({"q": "evi*"}, {"B"}),
        ({"q": '" OR 1'}, set()),
        ({"since": "90m"}, {"A"}),
        ({"until": "90m", "since": "24h"}, {"B"}),
        ({"q": "curl", "host": "web-3"}, set()),
        ({"state": "muted"}, set()),
        ({}, {"A", "B"}),
    ],
)
def test_filters_select_groups(query: dict[str, str], rules: set[str], tmp_path: Path) -> None:
    """Each filter alone, and two together."""
    event = {
        "container.id": "0123456789ab",
        "container.image.repository": "docker.io/nginx",
        "k8s.ns.name": "prod",
        "user.name": "www",
        "proc.cmdline": "curl evil.example",
    }
    alerts = [
        found(10, rule="A"),
        found(
            120,
            rule="B",
            priority="Critical",
            tags=("container",),
            hostname="db-1",
            event=event,
            output="A connection",
            output_fields={},
        ),
    ]
    _, reader = filled(tmp_path, alerts)
    filters = Filters.read({"since": "7d"} | query)
    assert {group.rule for group in reader.groups(filters, NOW).groups} == rules
    counted = sum(sum(bar.counts.values()) for bar in reader.histogram(replace(filters, state="all"), NOW).bars)
    assert counted == len(rules) or "state" in query
    assert len(reader.alerts("", replace(filters, state="all"), NOW)) == len(rules) or "state" in query


def test_an_alert_that_comes_twice_counts_once(tmp_path: Path) -> None:
    """Topics deliver at least once."""
    view, reader = filled(tmp_path, [found(1), found(2)])
    assert view.add([record_of(found(2)), record_of(found(3))], NOW) == 1
    assert reader.groups(ALL, NOW).alerts == 3


def test_alerts_of_one_nanosecond_are_all_held_and_listed(tmp_path: Path) -> None:
    """Their positions differ, so that a list continues where it ended."""
    alerts = [replace(found(1), id=f"same-{number}") for number in range(5)]
    _, reader = filled(tmp_path, alerts)
    key = reader.groups(ALL, NOW).groups[0].key
    first = reader.alerts(key, ALL, NOW, limit=3)
    rest = reader.alerts(key, ALL, NOW, limit=3, before=first[-1].time)
    assert sorted(line.id for line in (*first, *rest)) == [f"same-{number}" for number in range(5)]
    assert reader.alert("same-3") == (alerts[3], key)
    assert reader.alert("none") is None


def test_very_many_alerts_of_one_time_cost_no_more_each(tmp_path: Path) -> None:
    """Otherwise one host, whose alerts all have the same time, could stop the console."""
    view = AlertView(tmp_path / "alerts.db")
    statements: list[str] = []
    view._base.set_trace_callback(statements.append)
    alerts = [replace(found(0), id=f"alert-{number}", hostname=f"web-{number % 9}") for number in range(3000)]
    assert view.add(map(record_of, alerts), NOW) == 3000
    assert sum(each.startswith("INSERT INTO alerts") for each in statements) < 3000 * 15
    page = AlertReader(tmp_path / "alerts.db").groups(ALL, NOW)
    assert page.groups[0].last - page.groups[0].first < 3000 * 30
    assert page.alerts == 3000


def test_the_oldest_alerts_go_first(tmp_path: Path) -> None:
    """By number and by age; groups without alerts go too."""
    alerts = [found(60 * number, rule=f"R{number}") for number in range(20)]
    view, reader = filled(tmp_path, alerts, ViewLimits(alerts=15, days=1))
    assert view.prune(NOW) == 5
    assert [group.rule for group in reader.groups(ALL, NOW).groups] == [f"R{number}" for number in range(15)]
    assert view.prune(NOW + 20 * HOUR) == 10
    assert view.count == 5
    assert [line.output for line in reader.alerts("", Filters(q="file", since="all"), NOW)] == [
        alert.output for alert in alerts[:5]
    ]
    assert sum(sum(bar.counts.values()) for bar in reader.histogram(ALL, NOW).bars) == 5
    assert view.prune(NOW + 20 * HOUR) == 0


def test_the_size_of_the_file_is_bounded(tmp_path: Path) -> None:
    """Beyond the limit the oldest alerts go until there is room."""
    view, _ = filled(tmp_path, [], ViewLimits(mib=1))
    for start in range(0, 6000, 500):
        view.add(
            [record_of(found(0, id=f"{start + n}", time=NOW - n, output=f"x{n:x} " * 50)) for n in range(500)], NOW
        )
        while view.prune(NOW):
            pass
    view.close()
    assert view.count < 3000
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 << 20


def test_an_alert_of_the_future_is_shown_now_and_an_old_one_is_not_taken(tmp_path: Path) -> None:
    """A wrong clock can't make an alert stay for years."""
    _, reader = filled(tmp_path, [found(-600), found(60 * 24 * 40)], ViewLimits(days=30))
    assert [line.time for line in reader.alerts("", ALL, NOW + HOUR)] == [NOW // 1000]


def test_random_texts_share_a_group(tmp_path: Path) -> None:
    """A rule and workload have a limited number of groups."""
    _, reader = filled(tmp_path, [found(number, output=output) for number, output in enumerate(texts(50))])
    page = reader.groups(ALL, NOW, limit=500)
    assert page.total == MAX_TEXTS + 1
    assert [group.count for group in page.groups if group.text == OTHER_TEXTS] == [50]


def test_what_shares_a_group_is_never_muted_and_the_newest_is_shown(tmp_path: Path) -> None:
    """Decoys of any number can't take what comes later along into a row that nobody looks at."""
    view, reader = filled(tmp_path, [found(60, id=output, output=output) for output in texts(1)])
    (shared,) = [group for group in reader.groups(ALL, NOW, limit=500).groups if group.is_shared]
    view.set_marks([Mark(f"group:{shared.key}", "muted_until", str(NOW + HOUR), "eve", NOW)])
    view.add([record_of(found(1, output="read the key"))], NOW)

    newest = reader.groups(Filters(), NOW).groups[0]
    assert (newest.key, newest.state, newest.sample) == (shared.key, "open", "read the key, on web-3")


def test_the_headline_of_a_group_says_what_its_alerts_share(tmp_path: Path) -> None:
    """One alert has all words, as on the terminal; with several, what differs is left out, and hosts are counted."""

    def opened(number: int, name: str, program: str, **facts: str) -> Alert:
        event = {"evt.type": "openat", "proc.name": program, "user.name": "root", "fd.name": name}
        return found(number, event=event | {"evt.is_open_read": True}, **facts)

    view, reader = filled(tmp_path, [opened(9, "/root/.ssh/id_rsa", "cat")])
    assert reader.groups(ALL, NOW).groups[0].headline == "cat (root) opened /root/.ssh/id_rsa for reading, on web-3"
    view.add([record_of(opened(8, "/root/.ssh/id_dsa", "cat"))], NOW)
    assert reader.groups(ALL, NOW).groups[0].headline == "cat (root) opened /root/.ssh/… for reading, on web-3"
    view.close()
    again = AlertView(tmp_path / "alerts.db")
    again.add([record_of(opened(7, "/root/.ssh/id_rsa", "tar", hostname="web-4"))], NOW)
    assert reader.groups(ALL, NOW).groups[0].headline == "… (root) opened /root/.ssh/… for reading, on 2 hosts"
    line = reader.alerts("", ALL, NOW)[0]
    assert (line.headline, line.rule) == (
        "tar (root) opened /root/.ssh/id_rsa for reading, on web-4",
        "Read sensitive file",
    )


def test_a_row_of_other_texts_is_named_by_what_they_share_or_by_the_newest(tmp_path: Path) -> None:
    """Never by the fact alone that there are too many of them."""
    view, reader = filled(tmp_path, [found(60, id=output, output=output) for output in texts(2)])
    shared = next(group for group in reader.groups(ALL, NOW, limit=500).groups if group.is_shared)
    assert shared.headline == "ran …, on web-3"
    view.add([record_of(found(1, output="other"))], NOW)
    newest = reader.groups(ALL, NOW).groups[0]
    assert newest.headline == "many different actions, newest: other, on web-3"


def test_a_day_later_new_texts_have_rows_again(tmp_path: Path) -> None:
    """Whoever filled the rows once doesn't fill them for as long as the view holds alerts."""
    view, reader = filled(tmp_path, [found(60 * 26, id=output, output=output) for output in texts(1)])
    view.add([record_of(found(1, output="read the key"))], NOW)

    assert reader.groups(ALL, NOW).groups[0].text == "read the key"


def texts(more: int) -> list[str]:
    """Return so many texts more than have groups of their own."""
    return ["ran " + "".join(chr(97 + n // 26**place % 26) for place in range(3)) for n in range(MAX_TEXTS + more)]


def test_facets_count_the_alerts_that_match_by_value(tmp_path: Path) -> None:
    """They count the groups of the list alone, by counters or one by one, and most comes first."""
    nginx = {"container.id": "0123456789ab", "container.image.repository": "nginx", "user.name": "www"}
    alerts = [found(number, hostname=f"web-{number % 2}") for number in range(5)]
    alerts += [found(number, rule="B", tags=("T1059.004", "x"), hostname="db", event=nginx) for number in range(5, 8)]
    view, reader = filled(tmp_path, alerts)

    def facets(**query: str) -> dict[str, dict[str, int]]:
        read = Filters.read({"since": "all", **query})
        return {each.name: dict(each.values) for each in reader.facets(read, NOW)}

    assert facets() == {
        "rule": {"Read sensitive file": 5, "B": 3},
        "technique": {"T1003.008": 5, "T1059.004": 3},
        "host": {"db": 3, "web-0": 3, "web-1": 2},
        "image": {"nginx": 3},
        "user": {"root": 5, "www": 3},
    }
    assert facets(host="web-1")["rule"] == {"Read sensitive file": 2}
    assert facets(until="6m")["host"] == {"db": 1}
    group = next(each for each in reader.groups(ALL, NOW).groups if each.rule == "B")
    view.set_marks([Mark(f"group:{group.key}", "acknowledged", str(NOW), "eve", NOW)])
    assert facets()["host"] == {"web-0": 3, "web-1": 2}
    assert facets(state="acknowledged")["host"] == {"db": 3}


def test_facets_look_at_a_limited_number_of_the_newest_alerts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules and techniques are counted completely all the same."""
    monkeypatch.setattr(listing, "MAX_FACETED", 3)
    _, reader = filled(tmp_path, [found(number, hostname=("new" if number < 3 else "old")) for number in range(9)])
    rules, techniques, hosts, _ = reader.facets(ALL, NOW)
    assert (dict(rules.values), dict(hosts.values)) == ({"Read sensitive file": 9}, {"new": 3})
    assert dict(techniques.values) == {"T1003.008": 9}


def test_decisions_give_a_group_its_state(tmp_path: Path) -> None:
    """An acknowledged group is open again with the next alert, a muted one after its time."""
    view, reader = filled(tmp_path, [found(10)])
    group = reader.groups(ALL, NOW).groups[0]
    assert group.state == "open"
    subject = f"group:{group.key}"
    view.set_marks([Mark(subject, "acknowledged", str(group.last * 1000), "alice", NOW)])
    assert reader.groups(Filters(), NOW).total == 0
    assert reader.groups(Filters(state="acknowledged"), NOW).groups[0].state == "acknowledged"
    view.add([record_of(found(5))], NOW)
    assert reader.groups(Filters(), NOW).groups[0].state == "open"
    view.set_marks(
        [Mark(subject, "muted_until", str(NOW + HOUR), "bob", NOW), Mark(subject, "assignee", "bob", "bob", NOW)]
    )
    row = reader.groups(Filters(state="muted"), NOW).groups[0]
    assert (row.state, row.assignee, row.muted_until) == ("muted", "bob", NOW + HOUR)
    assert reader.groups(Filters(), NOW + 2 * HOUR).groups[0].muted_until == 0
    view.set_marks([Mark(subject, "muted_until", "", "bob", NOW)])
    assert reader.groups(Filters(), NOW).groups[0].state == "open"
    detail = reader.group(group.key, Filters(), NOW)
    assert detail is not None
    assert [(mark.field, mark.author) for mark in detail.marks] == [("acknowledged", "alice"), ("assignee", "bob")]
    assert detail.description == "Somebody read it."


def test_the_view_continues_after_a_restart(tmp_path: Path) -> None:
    """Positions are stored with the alerts."""
    view, _ = filled(tmp_path, [])
    view.add([record_of(found(1))], NOW, {0: 7, 3: 2})
    view.add([record_of(found(2))], NOW, {0: 8})
    view.close()
    again = AlertView(tmp_path / "alerts.db")
    assert (again.positions(), again.count) == ({0: 8, 3: 2}, 2)


@pytest.mark.parametrize("damage", ["version", "bytes"])
def test_a_file_of_another_release_or_a_damaged_one_is_begun_again(damage: str, tmp_path: Path) -> None:
    """The topic fills it."""
    view, _ = filled(tmp_path, [found(1)])
    view.close()
    path = tmp_path / "alerts.db"
    if damage == "version":
        base = sqlite3.connect(path)
        base.execute(f"PRAGMA user_version = {VERSION + 1}")
        base.close()
    else:
        path.write_bytes(b"nonsense" * 1000)
    assert AlertView(path).count == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_alerts_that_people_commented_or_assigned_are_marked_as_real(tmp_path: Path) -> None:
    """A comment on an alert marks it alone, one on a group all of its alerts; an acknowledged group is only seen."""
    one, two, three = found(1), found(2, rule="B"), found(3, rule="C")
    view, reader = filled(tmp_path, [one, found(4), two, three])
    groups = {group.rule: group.key for group in reader.groups(ALL, NOW).groups}
    view.set_marks([Mark(f"alert:{one.id}", "comment/1", "look", "eve", NOW)])
    view.set_marks([Mark(f"group:{groups['B']}", "assignee", "eve", "eve", NOW)])
    view.set_marks([Mark(f"group:{groups['C']}", "acknowledged", str(NOW), "eve", NOW)])

    assert reader.marked_as_real(10) == {one.id, two.id}
