import re
import time
from pathlib import Path

import pytest

from bus.connection import Connection
from tests.cluster.processes import Processes
from tests.live.lanner.test_inventory import serving, version_of_python
from tests.live.lanner.watching import RULES


@pytest.mark.live
def test_an_alert_of_a_fleet_names_the_server_that_its_process_came_through(
    connection: Connection, processes: Processes, tmp_path: Path
) -> None:
    """The collector reads the host, and the notifier states the server in the words of `lanner run`."""
    rules, marked = tmp_path / "rules.yaml", tmp_path / "x.lanner-mark"
    rules.write_text(RULES)
    marked.touch()
    collector = processes.start(
        connection,
        "collector",
        "-o",
        "collector.server_packages=true",
        "-o",
        f"kafka.spool_dir={tmp_path}/own",
        rules=rules,
    )
    processor = processes.start(connection, "processor", rules=rules)
    notifier = processes.start(connection, "notifier", "stdout", "-o", "stdout_output.format=text")
    processor.wait_for("evaluating rules:")
    stated = f"python3 (package python3.11-minimal {version_of_python()}), listens on tcp 0.0.0.0:"
    with serving("0.0.0.0", marked):
        deadline = time.monotonic() + 60
        while stated not in notifier.output:
            assert time.monotonic() < deadline, (notifier.output[-2000:], notifier.errors, collector.errors)
            time.sleep(0.1)
    assert re.search(r"^ +server +python3 \(package", notifier.output, re.MULTILINE)
    assert (collector.stop(), processor.stop(), notifier.stop()) == (0, 0, 0)
