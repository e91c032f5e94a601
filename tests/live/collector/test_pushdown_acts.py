"""Random real actions under random rules: the alerts are the same with and without the kernel's filter."""

import re
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from collector.bpf.program import RingSizes
from collector.kernel.offsets import numbers_of, without_types
from collector.settings import CollectorSettings
from processor.compiler.checks import errors
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.filter import PushdownFilter, always
from tests.live.collector.random_acts import OPENS, PATHS, TYPES, make_folder, paths_of, random_script
from tests.live.collector.watching import Watching, watching
from tests.live.compiled import Programs, bytecode
from tests.unit.processor.plain_rules import DetectionRule

SEEDS, SETS, RULES, ACTIONS = 6, 4, 4, 150
OUTPUT = "%proc.args %proc.name %user.uid %evt.args %fd.name %fs.path.name %fs.path.source %fs.path.target"
WATCHED = frozenset({*TYPES, "procexit"})
LARGE = CollectorSettings(rings=RingSizes(events=1 << 26))
ANY = "evt.type != procexit"
MOST_OF_A_LITERAL = 250
NUMBERS_OF_FILES = re.compile(r"\bino=\d+|#\d+")

OF_OPENS = (
    *("evt.is_open_read = true", "evt.is_open_write = true", "evt.is_open_exec = true", "evt.is_open_create = true"),
    *("evt.arg.flags contains O_TRUNC", "evt.arg.flags contains O_DIRECTORY", "fd.nameraw contains ../"),
    *("fd.num >= 0", "fd.nameraw startswith /proc", "fd.name exists", "fd.typechar = f", "fd.type = directory"),
)
OF_OTHERS = (
    *("evt.arg.option = PR_SET_NAME", "evt.arg.flags contains CLONE_NEWNS", "evt.arg.flags contains CLONE_FS"),
    *("evt.arg.nstype contains CLONE_NEWNS", "evt.arg.flags contains MS_BIND", "fd.num in (62, 66)"),
    *("evt.arg.request contains PTRACE_ATTACH", "evt.rawres in (0, 90)", "evt.arg.newfd exists", "fd.name exists"),
)
OF_ALL = (
    *("evt.failed = true", "evt.failed = false", "evt.rawres >= 0", "evt.rawres < 0", "evt.res in (ENOENT, EACCES)"),
    *("evt.res = SUCCESS", "user.uid = 0", "user.uid != 0", "proc.name = renamed", "proc.name = a-name-longer-t"),
    *("proc.name startswith a-name", "proc.name in (worker, calls-64)", "container.id = host", "container.id != host"),
    *("proc.exepath endswith calls-64", "thread.ismain = true", "proc.cwd contains jail"),
)


def random_rule(chance: Random, names: list[str]) -> str:
    """Return a rule on some event types, with checks joined and negated at random."""
    kinds = chance.choice([OPENS, OPENS, PATHS, PATHS, TYPES])
    types = sorted({chance.choice(kinds) for _ in range(6)})

    def narrow() -> str:
        if kinds is TYPES:
            return chance.choice(OF_OTHERS)
        return of_path(chance, "fd.name" if kinds is OPENS else chance.choice(PATH_FIELDS), names)

    def check() -> str:
        text = chance.choice([narrow(), narrow(), chance.choice(OF_ALL), chance.choice(OF_OPENS)])
        return f"not {text}" if chance.random() < 0.3 else text

    def joined(word: str) -> str:
        return f"({check()} {word} {check()})"

    parts = [narrow() if chance.random() < 0.8 else check()]
    parts += [chance.choice([check(), joined("or"), f"not {joined(chance.choice(['and', 'or']))}"])]
    word = chance.choice(["and", "and", "and", "or"])
    return f"evt.type in ({', '.join(types)}) and ({f' {word} '.join(parts)})"


PATH_FIELDS = (
    *("fd.name", "fs.path.name", "fs.path.name", "fs.path.source", "fs.path.source", "fs.path.target"),
    *("evt.arg.oldpath", "evt.arg.target", "evt.arg.newpath", "evt.arg.path", "evt.arg.filename", "evt.arg[1]"),
)


def of_path(chance: Random, field: str, names: list[str]) -> str:
    """Return a check of a path."""
    name = chance.choice(names)
    head, tail = name.rsplit("/", 1)
    checks = [
        *(f"{field} = {name}", f"{field} in ({name}, {chance.choice(names)})", f"{field} pmatch ({head or '/conf'})"),
        *(f"{field} startswith {name[: chance.randint(2, len(name))]}", f"{field} endswith /{tail}"),
        *(f"{field} endswith {name[-chance.randint(1, 40) :]}", f'{field} glob "{head}/*"', f"{field} contains {tail}"),
        f"{field} != {name}",
    ]
    if field == "fd.name":
        checks += [f"fd.directory = {head or '/'}", f"fd.filename in ({tail}, id)", f"fd.directory startswith {head}/"]
    return chance.choice(checks)


def reported_by(
    watch: Watching, pushdown_filter: PushdownFilter | None, program: str, plan: Path, top: Path
) -> list[EventBatch]:
    """Run the actions on fresh files, and return their batches."""
    make_folder(top)
    watch.batches.clear()
    sent = None if pushdown_filter is None else always(pushdown_filter, ["procexit"])
    watch.collector.watch(WATCHED if sent is None else sent.events, sent)
    watch.run_to_the_end(program, str(plan))
    # Not those of the rest of the host.
    return [batch for batch in watch.batches if any(str(plan) in (each.args or ()) for each in batch.processes)]


def found_in(batches: list[EventBatch], plan: Path, rules: list[str]) -> Counter[tuple[str, ...]]:
    """Count the matches of each rule, by everything that its alert shows except file numbers."""
    detector = Detector(
        [DetectionRule(rule, parse(rule), OUTPUT) for rule in rules], RulesetOptions(rule_matching="all")
    )
    alerts = [alert for batch in batches for alert in detector.process(BatchView(batch))]
    ours = [alert for alert in alerts if alert.output_fields["proc.args"] == str(plan)]
    return Counter((each.rule, str(each.event["evt.type"]), NUMBERS_OF_FILES.sub("", reported(each))) for each in ours)


def reported(alert: Alert) -> str:
    """Return everything that an alert shows about an action."""
    return " ".join(map(str, alert.output_fields.values()))


@pytest.fixture(params=[True, False], ids=["typed", "untyped"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the program that reads objects by their types, or with that of kernels before 6.2."""
    if request.param:
        return bytecode()
    monkeypatch.setattr("collector.bpf.build.numbers_of", lambda: without_types(numbers_of()))
    for compiled in bytecode().glob("bpf-*"):
        shutil.copy(compiled, tmp_path)
    return tmp_path


def test_the_same_alerts_come_of_any_act_with_and_without_pushdown(
    tmp_path: Path, programs: Programs, cache: Path
) -> None:
    """From a chroot, another mount namespace, renamed processes, threads, the 32-bit entry, with names of any kind."""
    top, plan, program = tmp_path / "top", tmp_path / "plan", programs("calls")
    names = [name for name in paths_of(top) if len(name) < MOST_OF_A_LITERAL]
    found: Counter[str] = Counter()
    sent = made = 0
    with watching(settings=LARGE, cache=cache) as watch:
        for seed in range(SEEDS):
            chance = Random(seed)
            plan.write_text(random_script(chance, top, ACTIONS))
            everything = reported_by(watch, None, program, plan, top)
            for _ in range(SETS):
                rules = [random_rule(chance, names) for _ in range(RULES)]
                trees = [parse(rule) for rule in rules]
                assert not [error for tree in trees for error in errors(tree)]
                some = reported_by(watch, derive(trees, TYPES), program, plan, top)
                every_alert, alerts = found_in(everything, plan, rules), found_in(some, plan, rules)
                lost = watch.collector.losses
                assert alerts == every_alert, f"seed {seed}: {every_alert - alerts}, {alerts - every_alert}; {lost}"
                for (rule, *_), count in alerts.items():
                    found[rule] += count
                made += found_in(everything, plan, [ANY]).total()
                sent += found_in(some, plan, [ANY]).total()
        assert "events_ring_full" not in watch.collector.losses

    assert made > SEEDS * SETS * ACTIONS
    assert made * 0.1 < sent < made * 0.7, f"{sent} of {made} sent"
    assert found.total() > SEEDS * SETS * 20
    assert len(found) > SEEDS * SETS
