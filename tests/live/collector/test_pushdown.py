"""What the kernel leaves out matters to no rule: real opens, with and without interest."""

import json
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from processor.detect import DetectionRule, Detector
from processor.interest import derive
from processor.language.parser import parse
from tests.live.collector.watching import Watching, watching

ACTS = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for number, (name, flags, mode, relative) in enumerate(json.load(open(sys.argv[1]))):
    if relative and os.path.isdir(os.path.dirname(name)):
        os.chdir(os.path.dirname(name)); name = os.path.basename(name)
    fd = libc.open(name.encode(), flags, mode) if number % 2 else libc.syscall(2, name.encode(), flags, mode)
    if fd >= 0: os.close(fd)
"""
MOST_OF_A_LITERAL = 250
OPENS = ("open", "openat")

CHECKS = (
    *("evt.is_open_read = true", "evt.is_open_write = true", "evt.failed = true", "fd.num >= 0"),
    *("evt.is_open_exec = true", "evt.res = ENOENT", "evt.is_open_create = true"),
)


def random_rules(chance: random.Random, names: list[str]) -> list[str]:
    """Make rules of checks on names and kinds, joined and negated at random."""

    def check() -> str:
        name = chance.choice(names)
        return chance.choice(
            [
                f"fd.name = {name}",
                f"fd.name in ({name}, {chance.choice(names)})",
                f"fd.name startswith {name[: chance.randint(2, len(name))]}",
                f"fd.name endswith {name[-chance.randint(1, 40) :]}",
                f"fd.directory = {name.rsplit('/', 1)[0]}",
                f"fd.filename = {name.rsplit('/', 1)[1]}",
                f"not fd.name = {name}",
                "fd.nameraw contains ../",
                chance.choice(CHECKS),
                chance.choice(CHECKS),
            ]
        )

    def rule() -> str:
        parts = [check() for _ in range(chance.randint(1, 3))]
        return "evt.type in (open, openat) and (" + f" {chance.choice(['and', 'and', 'or'])} ".join(parts) + ")"

    return [rule() for _ in range(12)]


def make_names(folder: Path, chance: random.Random) -> list[str]:
    """Make files, links to them, long and deep names, and names of nothing."""
    names = []
    for number in range(12):
        path = folder / chance.choice(["etc", "bin", "a" * 60]) / f"file{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        names.append(str(path))
    deep = folder.joinpath(*["deep"] * 40) / "bottom"
    deep.parent.mkdir(parents=True)
    deep.write_text("x")
    long = folder / ("l" * 200) / ("m" * 90)
    long.parent.mkdir()
    long.write_text("x")
    link = folder / "link"
    link.symlink_to(names[0])
    return [*names, str(deep), str(long), str(link), str(folder / "nothing"), str(folder / "none" / "nothing")]


def unclean(name: str, chance: random.Random) -> str:
    """Write a name in another way, or not."""
    head, tail = name.rsplit("/", 1)
    return chance.choice(
        [name, name, name, f"{head}//{tail}", f"{head}/./{tail}", f"{head}/../{head.rsplit('/', 1)[1]}/{tail}"]
    )


def matched(watch: Watching, detector: Detector, folder: Path) -> Counter[tuple[str, str]]:
    """Count what each rule found, by name."""
    alerts = [alert for batch in watch.batches for alert in detector.process(batch)]
    return Counter(
        (alert.rule, str(alert.output_fields["fd.nameraw"]))
        for alert in alerts
        if str(alert.output_fields["fd.name"]).startswith(str(folder))
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_same_alerts_come_with_and_without_pushdown(tmp_path: Path, seed: int) -> None:
    """Random rules, random real opens: names relative and unclean, through links, of nothing, too long to judge."""
    chance = random.Random(seed)
    names = make_names(tmp_path, chance)
    rules = random_rules(chance, [name for name in names if len(name) < MOST_OF_A_LITERAL])
    flags = (0, 1, 2, 0o101, 0o102, 0o1101, 0o2000000, 0o200000)
    acts = [
        (
            unclean(chance.choice(names), chance),
            chance.choice(flags),
            chance.choice([0o600, 0o755]),
            chance.random() < 0.1,
        )
        for _ in range(400)
    ]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(acts))
    found = []
    conditions = [parse(rule) for rule in rules]
    for interest in (None, derive(conditions, OPENS)):
        (tmp_path / "nothing").unlink(missing_ok=True)
        detector = Detector(
            [DetectionRule(text, tree, "%fd.name %fd.nameraw") for text, tree in zip(rules, conditions, strict=True)],
            rule_matching="all",
        )
        with watching("open", "openat", interest=interest) as watch:
            watch.run("/usr/bin/python3", "-I", "-c", ACTS, str(plan))
        found.append(matched(watch, detector, tmp_path))

    assert found[0].total() > 50
    assert found[0] == found[1]


def test_opens_of_no_interest_are_counted_and_not_sent(tmp_path: Path) -> None:
    """A rule on one file leaves the rest in the kernel; a link to that file is still seen."""
    (tmp_path / "secret").write_text("")
    (tmp_path / "other").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    interest = derive([parse(f"evt.type in (open, openat) and fd.name = {tmp_path / 'secret'}")], OPENS)
    with watching("open", "openat", interest=interest) as watch:
        before = watch.collector.counters()["filtered"]
        for name in ("secret", "other", "link"):
            watch.run("/bin/cat", str(tmp_path / name))
        names = {event["fd.name"] for event in watch.events(proc__name="cat")}
        filtered = watch.collector.counters()["filtered"] - before

    assert names == {str(tmp_path / "secret"), str(tmp_path / "link")}
    assert filtered > 3


def test_a_change_of_interest_loses_nothing(tmp_path: Path) -> None:
    """A program opens a file without pause; the interest changes again and again, and always holds that file."""
    (tmp_path / "secret").write_text("")
    code = (
        "import os, sys, time\n"
        "for _ in range(600):\n"
        "    for _ in range(50): os.close(os.open(sys.argv[1], 0))\n"
        "    time.sleep(0.002)\n"
    )
    wanted = f"evt.type in (open, openat) and fd.name = {tmp_path / 'secret'}"
    versions = [
        derive([parse(wanted), *(parse(f"evt.type = open and fd.name = /v{number}/{n}") for n in range(10))], OPENS)
        for number in range(8)
    ]
    with watching("open", "openat", interest=versions[0]) as watch:
        child = subprocess.Popen(["/usr/bin/python3", "-I", "-c", code, str(tmp_path / "secret")])
        turn = 0
        while child.poll() is None:
            turn += 1
            watch.collector.watch({"open", "openat"}, versions[turn % len(versions)])
            watch.collector.poll(0.005)
        watch.settle()
        seen = len(watch.events(fd__name=str(tmp_path / "secret")))

    assert turn > 10
    assert seen == 30000


def test_links_and_removals_of_no_interest_stay_in_the_kernel(tmp_path: Path) -> None:
    """Those of interest come, whether by a path, from a working directory, or in a chroot."""
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
        "evt.type in (unlink, unlinkat) and fs.path.name startswith /log",
        "evt.type = symlink and evt.arg.target = /etc/shadow",
    )
    types = ("unlink", "unlinkat", "symlink")
    found = []
    for interest in (None, derive([parse(rule) for rule in rules], types)):
        detector = Detector([DetectionRule(rule, parse(rule), "%proc.args") for rule in rules], rule_matching="all")
        with watching(*types, interest=interest) as watch:
            watch.run("/usr/bin/python3", "-I", "-c", code, str(tmp_path))
            filtered = watch.collector.counters()["filtered"]
        alerts = [alert for batch in watch.batches for alert in detector.process(batch)]
        found.append(Counter(each.rule for each in alerts if str(tmp_path) in str(each.output_fields["proc.args"])))
        for name in ("link", "root/log/2"):
            (tmp_path / name).unlink()

    assert found[0][rules[0]] == 3
    assert found[0][rules[2]] == 1
    assert found[0] == found[1]
    assert filtered >= 12
