"""Opens that the kernel filters matter to no rule: real opens, with and without a filter."""

import subprocess
from collections import Counter
from itertools import groupby
from pathlib import Path
from random import Random

from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.batch import INCOMPLETE_REASONS
from tests.live.collector.random_acts import TYPES
from tests.live.collector.test_pushdown_acts import random_rule
from tests.live.collector.watching import watching
from tests.unit.processor.plain_rules import DetectionRule

OPENS = ("open", "openat")
ACTIONS = """
import os, sys, time
top, made, end = sys.argv[1], 0, time.monotonic() + 10
while time.monotonic() < end:
    os.close(os.open(f"{top}/secret", 0))
    os.close(os.open(f"{top}/log/{made}", os.O_CREAT))
    os.unlink(f"{top}/log/{made}")
    made += 1
    time.sleep(0.001)
print(made)
"""


def test_opens_that_no_clause_matches_are_counted_and_not_sent(tmp_path: Path) -> None:
    """With a rule on one file, the kernel drops the rest; a link to that file is still reported."""
    (tmp_path / "secret").write_text("")
    (tmp_path / "other").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    pushdown_filter = derive([parse(f"evt.type in (open, openat) and fd.name = {tmp_path / 'secret'}")], OPENS)
    with watching("open", "openat", pushdown_filter=pushdown_filter) as watch:
        before = watch.collector.counters()["filtered"]
        for name in ("secret", "other", "link"):
            watch.run("/bin/cat", str(tmp_path / name))
        names = {event["fd.name"] for event in watch.events(proc__name="cat")}
        filtered = watch.collector.counters()["filtered"] - before

    assert names == {str(tmp_path / "secret"), str(tmp_path / "link")}
    assert filtered > 3


def test_changes_of_the_filter_lose_nothing(tmp_path: Path) -> None:
    """Switch between sets of random rules for ten seconds, while a program makes events that match all of them."""
    secret, log = tmp_path / "secret", tmp_path / "log"
    secret.write_text("")
    log.mkdir()
    chance = Random(1)
    names = [f"/srv/data/{number}" for number in range(50)]
    condition = f"evt.type in (openat, unlink) and (fd.name = {secret} or fs.path.name startswith {log}/)"
    versions = [
        derive([parse(rule) for rule in (condition, *(random_rule(chance, names) for _ in range(count)))], TYPES)
        for count in (0, 1, 2, 4, 8, 0, 16)
    ]
    reported: list[str] = []
    with watching(*TYPES, pushdown_filter=versions[0]) as watch:
        child = subprocess.Popen(
            ["/usr/bin/python3", "-I", "-c", ACTIONS, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        while child.poll() is None:
            pushdown_filter = versions[len(reported) % len(versions)]
            reported.append(f"version-{len(reported)}")
            watch.collector.change_pushdown_filter(pushdown_filter.events, pushdown_filter, frozenset(reported[-1:]))
            watch.collector.poll(chance.uniform(0.1, 0.3))
        watch.settle()
        made = int(child.communicate()[0])
        opened = sum(event["evt.count"] for event in watch.events(evt__type="openat", fd__name=str(secret)))
        removed = Counter(event["fs.path.name"] for event in watch.events(evt__type="unlink"))

    assert len(reported) > 20
    assert opened == made
    assert [removed[f"{log}/{number}"] for number in range(made)] == [1] * made
    # Each batch has the version that all its events passed; one that passed two has none.
    stamps = [batch.interest_version for batch in watch.batches if batch.interest_version]
    assert [version for version, _ in groupby(stamps)] == reported


def test_links_and_removals_that_no_clause_matches_stay_in_the_kernel(tmp_path: Path) -> None:
    """Matching ones are sent, whether by an absolute path, from a working directory, or in a chroot."""
    (tmp_path / "log").mkdir()
    (tmp_path / "root" / "log").mkdir(parents=True)
    code = (
        "import os, sys\n"
        "top = sys.argv[1]\n"
        "def some(folder):\n"
        "    for n in range(3): os.symlink('../other', f'{folder}/{n}')\n"
        "some(f'{top}/log'); some(f'{top}/root/log'); some(top)\n"
        "for n in range(3): os.unlink(f'{top}/{n}')\n"
        "os.unlink(f'{top}/log/0')\n"
        "os.chdir(f'{top}/log'); os.unlink('1')\n"
        "held = os.open('.', os.O_RDONLY); os.chdir('/'); os.unlink('2', dir_fd=held)\n"
        "os.symlink('/etc/shadow', f'{top}/link')\n"
        "os.chroot(f'{top}/root'); os.unlink('/log/0')\n"
        "os.chdir('/log'); os.unlink('1')\n"
    )
    rules = (
        f"evt.type in (unlink, unlinkat) and fs.path.name startswith {tmp_path}/log",
        # The host's path, unless something is mounted at the same time: then it stays as the process has it.
        f"evt.type in (unlink, unlinkat) and (fs.path.name startswith /log or fs.path.name startswith {tmp_path}/root)",
        "evt.type = symlink and evt.arg.target = /etc/shadow",
    )
    types = ("unlink", "unlinkat", "symlink")
    found = []
    for pushdown_filter in (None, derive([parse(rule) for rule in rules], types)):
        detector = Detector(
            [DetectionRule(rule, parse(rule), "%proc.args") for rule in rules], RulesetOptions(rule_matching="all")
        )
        with watching(*types, pushdown_filter=pushdown_filter) as watch:
            watch.run("/usr/bin/python3", "-I", "-c", code, str(tmp_path))
            filtered = watch.collector.counters()["filtered"]
            # Events of a process of another test that ended as the watch began are incomplete, not lost.
            lost = {reason: count for reason, count in watch.collector.losses.items() if count}
            assert lost.keys() <= INCOMPLETE_REASONS, lost
        alerts = [alert for batch in watch.batches for alert in detector.process(BatchView(batch))]
        found.append(Counter(each.rule for each in alerts if str(tmp_path) in str(each.output_fields["proc.args"])))
        for name in ("link", "root/log/2"):
            (tmp_path / name).unlink()

    assert [found[0][rule] for rule in rules] == [3, 2, 1]
    assert found[0] == found[1]
    assert filtered >= 12
