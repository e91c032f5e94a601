"""What first_seen knows in a fleet: learned from retained events, shown, and reset."""

import json
import time
from dataclasses import replace
from pathlib import Path

from bus.connection import Connection
from processor.output.internal_alerts import VALUES_UNSTORED
from tests.cluster import hasty
from tests.cluster.actions import Alerts, Generator, rules_file
from tests.cluster.processes import Processes
from tests.cluster.test_memory_of_rules import until
from tests.unit.processor.batches import INIT, batch_of

FIRST = """
- rule: Any
  desc: The only rule before.
  condition: evt.type = openat and fd.name startswith /other/
  output: x
  priority: NOTICE
"""
NEW = """
- macro: new_file
  condition: evt.type = openat and fd.name startswith /opened/
  correlation: {type: first_seen, field: fd.name, lookback: 7d, learning: 2s}
- rule: New file
  desc: A file that no host opened before.
  condition: new_file
  output: "%correlation.values"
  priority: NOTICE
"""


class Opener:
    """A host that opens files."""

    def __init__(self, connection: Connection, name: str = "h", uid: int = 0) -> None:
        self._generator = Generator(connection, hosts=0)
        self._name = name
        self._processes = [replace(INIT, uid=uid)]
        self._sequence = 0

    def open(self, *names: str) -> None:
        """Open files, in one batch."""
        self._sequence += 1
        events = ({"type": "openat", "fd_name": name, "time": time.time_ns()} for name in names)
        ids = {"host_id": self._name, "hostname": self._name, "collector_start": 1, "sequence": self._sequence}
        batch = batch_of(*events, processes=self._processes, **ids)
        batch.watched = ("openat",)
        self._generator.publish(batch)
        self._generator.flush()


def test_a_published_macro_knows_what_retained_events_show_until_it_is_reset(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """Files that were opened before are not new; one that was is, and so is one that an operator reset."""
    host, alerts = Opener(connection), Alerts(connection)

    def found() -> list[str]:
        alerts.read(0.5)
        return [alert.output.split(" container")[0] for alert in alerts.raw if alert.rule == "New file"]

    quick = {"LANNER__PUBLISHED_RULES__WAIT_SECONDS": "1"}
    worker = processes.start(
        connection, "processor", rules=rules_file(tmp_path, FIRST), program=(hasty.PROGRAM,), environment=quick
    )
    worker.wait_for("evaluating rules:")
    host.open("/opened/a", "/opened/b", "/other/c")
    time.sleep(3)
    host.open("/opened/a")

    fresh = tmp_path / "fresh.yaml"
    fresh.write_text(NEW)
    published = processes.start(connection, "rules", "publish", fresh, "--yes")
    assert published.result() == 0, published.errors
    assert "new_file: learned 2 values from retained events." in published.errors
    worker.wait_for("is active")
    host.open("/opened/a", "/opened/b", "/opened/c")
    until(lambda: "/opened/c" in found(), 30, "the new file was not reported")

    listed = processes.start(connection, "state", "list", "--topic", "--format", "json")
    assert listed.result() == 0, listed.errors
    row = json.loads(listed.output)
    assert (row["name"], row["groups"], row["values"], row["learning"]) == ("new_file", 1, 3, 0)
    shown = processes.start(connection, "state", "show", "new_file", "--topic", "--format", "json")
    assert shown.result() == 0, shown.errors
    assert {json.loads(line)["value"][0] for line in shown.output.splitlines()} == {f"/opened/{name}" for name in "abc"}

    reset = processes.start(connection, "state", "reset", "new_file", "--value", "/opened/b", "--topic")
    assert reset.result() == 0, reset.errors

    def is_new_again() -> bool:
        host.open("/opened/a", "/opened/b")
        time.sleep(2)
        return "/opened/b" in found()

    until(is_new_again, 90, "the file that was reset was not reported")
    assert sorted(found()) == ["/opened/b", "/opened/c"]
    assert worker.stop() == 0, worker.errors
    assert "Traceback" not in worker.errors
    alerts.close()


def test_a_host_that_brings_too_many_values_hides_no_value_of_another(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The other's new file is reported, and an internal alert names the host and the user who opened a hundred."""
    loud, quiet, alerts = Opener(connection, "loud", 33), Opener(connection, "quiet"), Alerts(connection)
    few = {"LANNER__FIRST_SEEN__VALUES_PER_GROUP": "50"}
    worker = processes.start(connection, "processor", rules=rules_file(tmp_path, NEW), environment=few)
    worker.wait_for("evaluating rules:")
    quiet.open("/opened/before")
    time.sleep(3)
    loud.open(*(f"/opened/{number}" for number in range(100)))

    def blamed() -> set[str]:
        alerts.read(0.5)
        return {f"{alert.hostname} {alert.output}" for alert in alerts.raw if alert.rule == VALUES_UNSTORED}

    until(lambda: bool(blamed()), 30, "the host that opened too many files was not named")
    quiet.open("/opened/secret")
    until(lambda: bool(blamed()) and any("/opened/secret" in each.output for each in alerts.raw), 30, "not reported")
    assert all(each.startswith("loud ") and "new_file by user 33: " in each for each in blamed())
    assert worker.stop() == 0, worker.errors
    assert "Traceback" not in worker.errors
    alerts.close()
