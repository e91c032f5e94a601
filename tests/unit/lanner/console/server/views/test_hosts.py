import time
from urllib.parse import quote

import pytest

from lanner.console.fleet.ports import HostsReading
from tests.unit.lanner.console.alerts import found
from tests.unit.lanner.console.fleet.hosts import READ_AT, GivenHosts, host
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.test_app import HOSTILE, Elements


def test_hosts_are_listed_with_states_and_alerts(serve: Serve) -> None:
    """Each links to its page and to its alerts."""
    fleet = GivenHosts(host(1), host(2, seen=READ_AT - 600_000), host(3, losses={"ring": 12_345}))
    served = serve(fleet=fleet, alerts=[found(0, hostname="web-2", time=time.time_ns())])
    served.wait_for(1)
    text = served.ask("/hosts").text
    assert text.index("web-2") < text.index("web-3") < text.index("web-1")
    assert "12,345" in text
    assert "/?host=web-2&amp;state=all" in text
    assert served.ask("/api/hosts").json["counts"]["silent"] == 1
    only = served.ask("/hosts?state=silent").text
    assert "web-2" in only
    assert "web-1" not in only
    assert "Nothing matches" in served.ask("/hosts?name=db").text
    assert served.ask("/hosts?state=dead").status == served.ask("/api/hosts?state=dead").status == 400


def test_one_host_shows_what_it_cannot_do(serve: Serve) -> None:
    """Event types, losses by reason, and by how much its clock is off."""
    facts = {"offset": -7_200_000_000_000, "losses": {"process_stale": 3}, "narrowed": ("connect",)}
    fleet = GivenHosts(host(1, **facts))
    served = serve(fleet=fleet)
    text = served.ask("/hosts/host?id=id-1").text
    assert "7200 s ahead of the broker" in text
    assert "process_stale" in text
    assert "It sends in full: execve, openat. Only if a rule could match: connect." in text
    assert served.ask("/hosts/host?id=none").status == served.ask("/api/hosts/host?id=none").status == 404
    fleet.known = HostsReading([host(1, watched=None)], READ_AT + 1)
    assert "No batch that was read states" in served.ask("/hosts/host?id=id-1").text


def test_a_fleet_without_hosts_explains_how_to_add_one(serve: Serve) -> None:
    """So does one that is still read, or can't be read."""
    fleet = GivenHosts()
    served = serve(fleet=fleet)
    assert "sudo lanner doctor" in served.ask("/hosts").text
    fleet.known = HostsReading()
    assert "Reading the hosts" in served.ask("/hosts").text
    assert served.ask("/api/hosts").json["read_at"] is None
    fleet.known = HostsReading(error="no broker at kafka:9092")
    assert "no broker at kafka:9092" in served.ask("/hosts").text


def test_a_recording_says_what_is_not_known(serve: Serve) -> None:
    """Instead of an empty list, which would look as if nothing watched."""
    served = serve()
    assert "Not known here" in served.ask("/hosts").text
    assert "is not in it" in served.ask("/api/hosts").json["unknown"]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_hosts_are_only_text(text: str, serve: Serve) -> None:
    """Whoever sends events chooses name, version, kernel and reasons."""
    given = text.encode("utf-8", "replace").decode()
    facts = dict.fromkeys(("id", "name", "version", "kernel", "rules"), given)
    fleet = GivenHosts(host(1, losses={"ring": 1}))
    served = serve(fleet=fleet)
    paths = ("/hosts", "/hosts/host?id=id-1")
    known = {path: {tag for tag, _ in Elements(served.ask(path).text).found} for path in paths}
    fleet.known = HostsReading([host(1, losses={given: 1}, watched=(given,), **facts)], READ_AT + 1)
    assert served.ask("/api/hosts").json["hosts"][0]["id"] == given
    for path, address in zip(paths, ("/hosts", f"/hosts/host?id={quote(given, safe='')}"), strict=True):
        page = served.ask(address)
        assert page.status == 200
        assert {tag for tag, _ in Elements(page.text).found} <= known[path]
        assert "8641969" not in page.text
        assert not set("\u202e\x1b\x00") & set(page.text)


def test_ten_thousand_hosts_are_listed_by_page(serve: Serve) -> None:
    """One page of them, and of the worst first."""
    served = serve(fleet=GivenHosts(*(host(number, offset=number % 3) for number in range(10_000))))
    text = served.ask("/hosts").text
    assert text.count("data-row") == 100
    assert 'rel="next"' in text
    assert len(text) < 200_000
    assert len(served.ask("/api/hosts?offset=9999&limit=500").json["hosts"]) == 1
