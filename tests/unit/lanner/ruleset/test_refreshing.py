import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lanner.ruleset.refreshing import HostNames, IndicatorFiles, system_resolver
from processor.loading import RuleFile, load_rules


def until(condition: Callable[[], bool]) -> bool:
    """Wait briefly for another thread."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_names_are_known_once_they_are_answered() -> None:
    """A name that doesn't exist has no addresses, and doesn't delay others."""
    answers = {"a.example": ["203.0.113.9"], "b.example": ["203.0.113.9", "2001:db8::9"], "gone.example": []}

    names = HostNames(answers, resolve=answers.__getitem__)

    assert names.wait(5)
    assert names.table == {"203.0.113.9": ("a.example", "b.example"), "2001:db8::9": ("b.example",)}
    names.stop()


def test_a_name_is_resolved_again_and_its_old_address_forgotten() -> None:
    """Hosts move."""
    current = ["203.0.113.1"]
    names = HostNames(["a.example"], resolve=lambda _name: list(current), refresh_seconds=0.01)
    assert until(lambda: "203.0.113.1" in names.table)

    current[0] = "203.0.113.2"

    assert until(lambda: names.table == {"203.0.113.2": ("a.example",)})
    names.stop()


def test_what_was_known_stays_where_nobody_answers() -> None:
    """A failing name server must not disable a rule."""
    queries: Counter[str] = Counter()

    def resolve(name: str) -> list[str]:
        queries[name] += 1
        if queries[name] > 1:
            raise OSError("no answer")
        return ["203.0.113.1"]

    names = HostNames(["a.example"], resolve=resolve, refresh_seconds=0.01)

    assert until(lambda: queries["a.example"] > 3)
    assert names.table == {"203.0.113.1": ("a.example",)}
    names.stop()


def test_a_slow_name_server_is_not_queried_faster_than_it_answers() -> None:
    """Evaluation doesn't wait for it either."""
    gate = threading.Event()
    queries: Counter[str] = Counter()

    def resolve(name: str) -> list[str]:
        queries[name] += 1
        gate.wait(5)
        return []

    names = HostNames(["a.example", "b.example"], resolve=resolve, refresh_seconds=0.01)
    time.sleep(0.1)

    assert names.table == {}
    assert queries.total() == 2
    gate.set()
    names.stop()


def test_a_name_with_many_addresses_is_cut() -> None:
    """The name server decides how many addresses there are; Lanner limits how many it stores."""
    names = HostNames(["a.example"], resolve=lambda _name: (f"10.0.{n >> 8}.{n & 255}" for n in range(60_000)))
    assert names.wait(5)
    assert len(names.table) == 64
    names.stop()


def test_without_names_nothing_is_started() -> None:
    """Most rule sets name no host."""
    before = threading.active_count()
    names = HostNames([])
    assert names.wait(0)
    assert threading.active_count() == before
    names.stop()


def test_the_system_resolver_knows_this_host() -> None:
    """It is in the hosts file, so no name server is needed."""
    assert {"127.0.0.1", "::1"} & set(system_resolver("localhost"))


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """One that can't be read is reported once, and its former entries stay until it is back."""
    file, notes = tmp_path / "bad.txt", list[str]()
    file.write_text("198.51.100.7\n")
    text = "- {indicators: bad, file: bad.txt, kind: address}\n"
    loaded = load_rules([RuleFile(str(tmp_path / "rules.yaml"), text)]).indicators
    found = loaded["bad"].indicators
    found.load()

    def note(message: str, level: str = "info", /) -> None:
        notes.append(f"{level} {message}")

    def wait(count: int) -> None:
        deadline = time.monotonic() + 30
        while len(notes) < count:
            assert time.monotonic() < deadline, notes
            time.sleep(0.01)

    files = IndicatorFiles(loaded.values(), note, look_seconds=0.01)
    file.unlink()
    wait(1)
    assert found.holds("198.51.100.7")
    time.sleep(0.1)
    new = tmp_path / "new"
    new.write_text("203.0.113.9\n203.0.113.10\n")
    new.rename(file)
    wait(2)
    files.stop()
    assert (found.holds("203.0.113.9"), found.holds("198.51.100.7")) == (True, False)
    assert notes == [
        "warning indicators bad: the file can't be read: No such file or directory; its former entries are used.",
        f"info indicators bad: 2 entries of kind address from {file}.",
    ]
