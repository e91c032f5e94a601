"""A hundred thousand opens of a watched file, as fast as one process can: each is reported, or counted as lost."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from collector.publishing.spool import Spool
from schemas.encoding.batch import decode_batch
from tests.live.lanner.watching import Watching

pytestmark = pytest.mark.live

OPENS = 100_000
PATIENCE = 90.0
RULES = """
- rule: Flooded
  desc: d
  condition: evt.type = openat and fd.name endswith .lanner-flood and evt.is_open_read = true
  output: read (file=%fd.name)
  priority: WARNING
  suppress: {by: [fd.name], for: 2s}
"""
FLOOD = "import os, sys\nfor _ in range(int(sys.argv[2])): os.close(os.open(sys.argv[1], os.O_RDONLY))"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Return the path of a rule about files that nobody else opens."""
    path = tmp_path / "flood.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """Return the path of such a file."""
    path = tmp_path / "a.lanner-flood"
    path.write_text("")
    return path


def flood(path: Path, count: int) -> None:
    """Open it so many times."""
    subprocess.run([sys.executable, "-I", "-c", FLOOD, path, str(count)], check=True)


def lost_by(text: str) -> int:
    """Return the number of lost events that the last line about them reports."""
    found = re.findall(r"Events lost: ([\d,]+)|([\d,]+) events lost", text)[-1]
    return int("".join(found).replace(",", ""))


def test_suppress_counts_every_repeat_that_was_not_lost(rules: Path, watched: Path) -> None:
    """First alerts and the counts in their summaries add up to what was opened, less what is reported as lost."""

    def alerts() -> list[dict[str, Any]]:
        reported = [json.loads(line) for line in list(lanner.out.lines)]
        return [alert for alert in reported if alert["rule"] == "Flooded"]

    later: list[int] = []

    def has_restarted() -> bool:
        later.append(time.time_ns())
        flood(watched, 1)
        return any(alert["output_fields"].get("evt.time", 0) > ended for alert in alerts() if not is_summary(alert))

    def is_summary(alert: dict[str, Any]) -> bool:
        return "REPEATED" in alert["output"]

    with Watching("run", "-o", "memory.enabled=false", "-r", rules, "--format", "json") as lanner:
        flood(watched, OPENS)
        ended = time.time_ns() + 2_000_000_000
        # The first alert of the next window arrives once all repeats before it are reported.
        deadline = time.monotonic() + PATIENCE
        while not has_restarted():
            assert time.monotonic() < deadline, "no alert came after the flood"
        assert lanner.end() == 0
    last = max(alert["output_fields"]["evt.time"] for alert in alerts() if not is_summary(alert))
    firsts = sum(not is_summary(alert) for alert in alerts())
    repeats = sum(
        int(re.findall(r"REPEATED ([\d,]+) more", alert["output"])[0].replace(",", ""))
        for alert in alerts()
        if is_summary(alert)
    )
    assert last > ended
    # Without a state file, repeats that are still counted are reported at the end.
    made = OPENS + len(later)
    lost = lost_by(lanner.err.text)
    assert firsts + repeats <= made <= firsts + repeats + lost


def test_a_collector_sends_what_it_does_not_lose(rules: Path, watched: Path, tmp_path: Path) -> None:
    """Without a broker: what waits on disk, and what is reported as lost, add up to what was opened."""
    spool = tmp_path / "spool"
    settings = ("-o", "kafka.bootstrap_servers=127.0.0.1:9", "-o", f"kafka.spool_dir={spool}", "-o", "http.listen=off")
    with Watching(*settings, "-r", rules, "collector") as lanner:
        flood(watched, OPENS)
        assert lanner.end() == 0
    stored = Spool(spool, 1 << 30)
    sent = 0
    while (taken := stored.take()) is not None:
        batch = decode_batch(taken[0])
        names = [batch.strings[index] for index in batch.columns["fd_name"]]
        sent += sum(
            1 + repeats for name, repeats in zip(names, batch.columns["repeats"], strict=True) if name == str(watched)
        )
    stored.close()
    lost = lost_by(lanner.err.text)
    assert sent <= OPENS <= sent + lost
