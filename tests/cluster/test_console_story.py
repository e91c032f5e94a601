"""An alert's story from the topic of a fleet: the events of its host, and of the host that a connection leads to."""

import time
from pathlib import Path

from bus.connection import Connection
from tests.cluster.actions import Generator, rules_file
from tests.cluster.processes import Processes
from tests.cluster.test_console import BrowsedConsole, soon
from tests.unit.lanner.recorder.hosts import far, near

RULES = """
- rule: Key was read
  desc: A key.
  condition: evt.type = openat and fd.name endswith id_rsa
  output: read %fd.name by %proc.cmdline
  priority: NOTICE
- rule: Shadow was read
  desc: Hashes of passwords.
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read %fd.name by %proc.cmdline
  priority: WARNING
"""


def test_a_story_is_read_from_the_topic(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """With the tree of both hosts and their alerts; the console serves pages while events are read."""
    rules = rules_file(tmp_path, RULES)
    processor = processes.start(connection, "processor", rules=rules)
    generator = Generator(connection, hosts=6)
    generator.act(3)
    began = time.time_ns()
    for batch in (near(began), far(began=began)):
        generator.publish(batch)
    generator.act(3)
    generator.flush()
    console = BrowsedConsole(connection, processes, tmp_path / "console", rules)
    soon(lambda: console.shows(2, 2))
    (alert,) = console.ask("/api/alerts?since=all&rule=Key%20was%20read")["alerts"]

    story = console.ask(f"/api/alerts/{alert['id']}/story")
    first, second = story["trees"]
    assert story["is_found"]
    assert [each["name"] for each in first["processes"]] == ["bash", "ssh"]
    assert (second["host"], second["join"]["remote"]) == ("db-1", "10.0.0.2:22")
    assert second["processes"][2]["steps"][0]["alerts"][0]["rule"] == "Shadow was read"
    assert [each["host"] for each in story["collected"]] == ["web-1", "db-1"]

    explained = console.ask(f"/api/alerts/{alert['id']}/explanation")
    assert (explained["answer"], explained["is_whole"]) == ("matches", True)
    assert processor.stop() == 0
    assert console.process.stop() == 0
