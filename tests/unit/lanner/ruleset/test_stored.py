import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.ruleset.active import RuleChoices
from lanner.ruleset.compile import compile_rules
from lanner.ruleset.stored import RuleStore
from lanner.settings import Settings
from lanner.wiring.rules import find_rules
from processor.compiler.mapping import compile_mapping
from processor.language.ast import Listed, checks, literals
from processor.loading import RuleFile

ROOT = Path(__file__).parents[4]
HEAVY = frozenset(("yaml", "processor.loading.loader", "lanner.ruleset.load", "lanner.ruleset.lint.lint"))
"""Modules that read and check rules."""
OF_OTHERS = frozenset(
    ("_hashlib", "cramjam", "email", "http.client", "re2", "schemas.catalog.attack", "sqlite3", "ssl", "zipfile")
)
"""Modules that only other sinks, settings, alerts or hosts with containers need; they take 15 MiB."""
RULE = b"- rule: %s\n  desc: d\n  condition: evt.type = openat and fd.name = /x\n  output: o\n  priority: INFO\n"


@pytest.fixture
def choices() -> RuleChoices:
    """Return the choice of one rule."""
    return replace(find_rules(Settings()), files=(RuleFile("r.yaml", RULE % b"one"),))


@pytest.fixture
def written(tmp_path: Path, choices: RuleChoices) -> Path:
    """Return the file in which rules are stored."""
    compile_rules(choices, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    return path


def test_a_start_with_the_same_rules_gets_them_as_they_were_loaded(tmp_path: Path) -> None:
    """For the built-in rules, which use all that the language has."""
    choices = find_rules(Settings())
    first = compile_rules(choices, folder=tmp_path)
    again = compile_rules(choices, folder=tmp_path)
    assert again.stored_filter is not None, "they were loaded again"
    assert again.active_rules == first.active_rules
    assert [each.location for each in again.active_rules.rules] == [each.location for each in first.active_rules.rules]
    assert again.pushdown_filter == first.pushdown_filter
    before, after = ((each.ruleset.detector, each.ruleset.pre_matcher) for each in (first, again))
    assert [list(each.compiled.classes) for each in after] == [each.compiled.classes for each in before]
    assert (again.variables, again.event_types, again.notices) == (first.variables, first.event_types, first.notices)
    assert again.host_names == first.host_names


def test_equal_texts_and_positions_are_read_as_one_object(tmp_path: Path, choices: RuleChoices) -> None:
    """A third of the memory of the built-in rules were copies of the same paths, names and positions."""
    for _ in range(2):
        rules = compile_rules(
            replace(choices, files=tuple(RuleFile(f"{each}.yaml", RULE % each.encode()) for each in ("one", "two"))),
            folder=tmp_path,
        ).active_rules.rules
    first, second = (checks(rule.condition) for rule in rules)
    for one, other in zip(first, second, strict=True):
        assert one.operator is other.operator
        assert one.span is other.span


def test_other_rules_or_notices_are_not_those_that_are_stored(tmp_path: Path, choices: RuleChoices) -> None:
    """Each is stored for itself, and the oldest are removed."""
    compile_rules(choices, folder=tmp_path)
    for number in range(6):
        changed = replace(choices, files=(RuleFile("r.yaml", RULE % b"%d" % number),))
        assert compile_rules(changed, folder=tmp_path).active_rules.rules[0].name == str(number)
    assert RuleStore(tmp_path, choices, warnings=False).read() is None
    assert len(list(tmp_path.iterdir())) == 4


def test_rules_with_lists_are_stored_until_a_list_changes(tmp_path: Path, choices: RuleChoices) -> None:
    """What is wrong with a list is reported at each start, and its entries are those of the file."""
    file, store = tmp_path / "bad.txt", tmp_path / "store"
    file.write_text("/x # One\n" + "x" * 2000)
    text = f"- {{indicators: bad, file: {file}, kind: text}}\n".encode() + RULE % b"one"
    text = text.replace(b"fd.name = /x", b"fd.name in_indicators (bad)")
    choices = replace(choices, files=(RuleFile("r.yaml", text),))
    for _ in range(2):
        first, again = (compile_rules(choices, folder=store) for _ in range(2))
        assert (first.stored_filter is None, again.stored_filter is None) == (True, False)
        assert again.notices == first.notices
        assert any("longer than 1024" in each for each in again.notices)
        assert again.pushdown_filter == first.pushdown_filter
        (rule,) = again.active_rules.rules
        ((_, compiled),) = again.ruleset.detector.compiled.classes[0].rules
        used = {
            id(value.indicators) for each in checks(compiled) for value in literals(each) if isinstance(value, Listed)
        }
        assert used == {id(again.active_rules.indicators["bad"].indicators)}
        event = {"evt.type": "openat", "fd.name": "/x"}
        assert compile_mapping(rule.condition)(event) is (b"x" in file.read_bytes()[:2])
        assert compile_mapping(rule.condition)({**event, "fd.name": "/z"}) is (b"z" in file.read_bytes()[:2])
        times = file.stat()
        file.write_text("/z # One\n" + "x" * 2000)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    file.unlink()
    with pytest.raises(BadInput):
        compile_rules(choices, folder=store)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_can_write_is_not_read(
    written: Path, tmp_path: Path, choices: RuleChoices, mode: int
) -> None:
    """As for a compiled program."""
    written.chmod(mode)
    assert RuleStore(tmp_path, choices, warnings=True).read() is None
    written.chmod(0o600)
    assert RuleStore(tmp_path, choices, warnings=True).read() is not None


@pytest.mark.parametrize("content", [b"", b"\x80\x05", pickle.dumps(1), pickle.dumps((os.getpid, 1))])
def test_rules_are_loaded_if_the_file_is_damaged(
    written: Path, tmp_path: Path, choices: RuleChoices, content: bytes
) -> None:
    """And the file is written again."""
    written.write_bytes(content)
    assert compile_rules(choices, folder=tmp_path).stored_filter is None
    assert RuleStore(tmp_path, choices, warnings=True).read() is not None


@pytest.mark.parametrize(("module", "name"), [("os", "mkdir"), ("lanner.ruleset.stored", "os.mkdir")])
def test_what_is_read_can_call_nothing_but_our_own_code(
    written: Path, tmp_path: Path, choices: RuleChoices, module: str, name: str
) -> None:
    """A pickle could otherwise name any function, also through what a module of ours imports."""
    marker = tmp_path / "marker"
    texts = (b"\x8c%c%s" % (len(text), text.encode()) for text in (module, name))
    called = b"".join((b"\x80\x04", *texts, b"\x93", pickle.dumps((str(marker),), 3)[2:-1], b"R."))
    written.write_bytes(called)
    assert RuleStore(tmp_path, choices, warnings=True).read() is None
    assert not marker.exists()
    pickle.loads(called)  # noqa: S301  what it would have done
    assert marker.exists()


def test_lanner_run_imports_no_parser_of_rules_when_they_are_stored(tmp_path: Path) -> None:
    """Neither for the rules nor for anything else on its way to the first alert."""
    code = (
        "import sys; from pathlib import Path\n"
        "import lanner.cli.app, lanner.commands.services.run\n"
        "from lanner.process import avro_without_snappy, hash_without_openssl\n"
        "hash_without_openssl(); avro_without_snappy()\n"
        "import lanner.wiring.stages.single_host\n"
        "import lanner.wiring.stages.collector\n"
        "from lanner.cli.app import Options\n"
        "from lanner.wiring.check import check_settings\n"
        "loaded = Options().load({})\n"
        f"check_settings(loaded, 'run', folder=Path({str(tmp_path)!r}))\nprint(*sys.modules)"
    )
    for start in range(2):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        found = set(done.stdout.split())
        assert found >= HEAVY if start == 0 else not (HEAVY | OF_OTHERS) & found


def test_lanner_run_begins_to_load_its_program_before_it_imports_the_stages() -> None:
    """The kernel verifies the program in the meantime; digests are imported afterwards, without OpenSSL."""
    code = "import sys, lanner.cli.app, lanner.commands.services.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    packages = {each.partition(".")[0] for each in done.stdout.split()}
    assert not {"collector", "cramjam", "fastavro", "hashlib", "notifier", "processor", "re2"} & packages
