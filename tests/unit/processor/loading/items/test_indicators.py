import dataclasses
import gzip
from pathlib import Path

import pytest

from processor.compiler.mapping import compile_mapping
from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.indicators.lists import PackedFile, PublishedFiles
from processor.loading import LoadResult, RuleFile, indicator_problems, load_rules
from processor.loading.difference import difference
from processor.loading.falco_compatibility import falco_problems
from processor.rule import RulesetOptions
from schemas.batch import Process
from tests.unit.processor.batches import INIT, batch_of

ITEM = "- indicators: bad\n  file: bad.txt\n  kind: address\n  source: A feed\n"


def rule(condition: str, output: str = "%proc.name") -> str:
    """Return a rule."""
    return f"- rule: {condition}\n  desc: d\n  condition: {condition}\n  output: '{output}'\n  priority: INFO\n"


def loaded(folder: Path, text: str, entries: str = "198.51.100.0/24 # Servers\n") -> LoadResult:
    """Load a rule file beside its list."""
    (folder / "bad.txt").write_text(entries)
    return load_rules([RuleFile(str(folder / "rules.yaml"), text)])


def test_a_condition_finds_an_address_in_a_list(tmp_path: Path) -> None:
    """As one name, in parentheses, by a list of names, and for both ends; a missing value is in none."""
    conditions = (
        *("fd.sip in_indicators bad", "fd.sip in_indicators (bad)", "fd.snet in_indicators (others, bad)"),
        *("fd.ip in_indicators (all)", "not fd.cip in_indicators (bad)"),
    )
    items = ITEM + ITEM.replace(": bad\n", ": others\n") + "- list: all\n  items: [bad, others]\n"
    result = loaded(tmp_path, items + "".join(rule(f"evt.type = connect and {each}") for each in conditions))
    assert result.errors == indicator_problems(result) == ()
    event = {"evt.type": "connect", "fd.sip": "198.51.100.7", "fd.cip": "10.0.0.1"}
    for each in result.rules:
        holds = compile_mapping(each.condition)
        assert holds(event)
        assert holds({**event, "fd.sip": "192.0.2.1"}) is holds({"evt.type": "connect"}) is ("not" in each.name)


CAT = Process(pid=7, ppid=1, name="cat", args=(), parent=0, uid=0, user="root", exepath="/usr/bin/cat")
OPEN = {"type": "openat", "process": 1, "fd_type": "file", "fd_num": 3, "fd_name": "/etc/shadow"}


def test_an_alert_names_list_entry_and_source(tmp_path: Path) -> None:
    """They are fields, end the text unless it names them, and are absent from alerts of other rules."""
    text = ITEM.replace("address", "text") + rule("evt.type = openat and fd.name in_indicators (bad)")
    text += rule("evt.type = openat and proc.exepath in_indicators (bad)", "%indicator.name (%indicator.description)")
    text += rule("evt.type = openat", "%indicator.name")
    result = loaded(tmp_path, text, "/etc/shadow # Passwords\n/usr/bin/cat\n")
    detector = Detector(result.rules, RulesetOptions(append_container=False, rule_matching="all"))
    one, two, other = detector.process(BatchView(batch_of(OPEN, processes=[INIT, CAT])))
    assert one.output == "cat indicator=/etc/shadow indicator_list=bad indicator_source=A feed"
    assert {name: value for name, value in one.output_fields.items() if name.startswith("indicator.")} == {
        "indicator.name": "/etc/shadow",
        "indicator.description": "Passwords",
        "indicator.kind": "text",
        "indicator.list": "bad",
        "indicator.source": "A feed",
    }
    assert two.output == "/usr/bin/cat (<NA>) indicator_list=bad indicator_source=A feed"
    assert other.output == "<NA>"


@pytest.mark.parametrize("field", ["proc.name", "fd.name", "tolower(proc.name)"])
def test_a_new_entry_matches_the_next_event(tmp_path: Path, field: str) -> None:
    """Nothing that was found of an earlier event is remembered for it, however many rules there are."""
    text = ITEM.replace("address", "text") + rule(f"evt.type = openat and {field} in_indicators (bad)")
    text += "".join(rule(f"evt.type = openat and proc.name = x{number}") for number in range(10))
    result = loaded(tmp_path, text, "nothing\n")
    detector = Detector(result.rules)
    batch = batch_of(OPEN, OPEN, processes=[INIT, CAT])
    assert detector.process(BatchView(batch)) == []
    (tmp_path / "bad.txt").write_text("cat\n/etc/shadow\n")
    result.indicators["bad"].indicators.load()
    assert len(detector.process(BatchView(batch))) == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("file: x.txt", "Item has no mapping for key 'kind'"),
        ("file: x.txt\n  kind: addresses", "'addresses' is none of address, name, digest, text"),
        ("file: x.bin\n  kind: address", "its format is not known by its name"),
        ("file: x.json\n  kind: text\n  format: stix", "a file of format stix has no entries of kind text"),
        ("file: ../x.txt\n  kind: address", "'../x.txt' can't be published"),
        ("file: x.txt\n  kind: address\n  expires_after: 7", "'7' is not a duration"),
        ("file: x.csv\n  kind: address\n  columns: {ip: value}", "columns: unknown key 'ip'"),
        ("file: x.txt\n  kind: address\n  columns: {value: ip}", "'columns' names the columns of a CSV file"),
    ],
)
def test_a_wrong_item_is_reported(item: str, message: str) -> None:
    """Once; a rule that uses it is skipped."""
    result = load_rules([RuleFile("r.yaml", f"- indicators: bad\n  {item}\n" + rule("fd.sip in_indicators (bad)"))])
    (problem,) = result.errors
    assert problem.message.startswith(message)
    assert (problem.item_type, problem.item_name, result.rules) == ("indicators", "bad", ())


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("fd.sip in_indicators (bda)", "Undefined indicators 'bda' used in filter."),
        ("fd.sport in_indicators (bad)", "the list 'bad' has entries of kind address, the left side has type 'PORT'"),
        ("evt.type in_indicators (bad)", "operator not supported for event types"),
        ("proc.name in_indicators val(proc.exe)", "needs the names of lists of indicators"),
        ("indicator.name = x", "can only be used in outputs"),
    ],
)
def test_a_wrong_use_is_reported(tmp_path: Path, condition: str, message: str) -> None:
    """With its place in the condition."""
    (problem,) = loaded(tmp_path, ITEM + rule(condition)).errors
    assert message in problem.message
    assert problem.location.line == 7


def test_problems_of_a_file_are_warnings_with_its_lines(tmp_path: Path) -> None:
    """A missing file is an error at the place that names it; an unused list is a warning."""
    result = loaded(tmp_path, ITEM, "".join(f"x{number}\n" for number in range(30)))
    assert [each.code.name for each in result.warnings] == ["LOAD_UNUSED_LIST"]
    found = indicator_problems(result)
    assert (found[1].file, found[1].line, found[1].code.severity) == (str(tmp_path / "bad.txt"), 2, "warning")
    assert [each.message for each in found[20:]] == [
        "10 more entries of bad.txt are left out",
        "bad.txt has no entries of kind address",
    ]
    (tmp_path / "bad.txt").unlink()
    (missing,) = indicator_problems(load_rules([RuleFile(str(tmp_path / "rules.yaml"), ITEM)]))
    assert (missing.message, missing.line) == ("Could not read the file: No such file or directory", 2)


def test_a_published_file_is_not_looked_for_on_the_disk(tmp_path: Path) -> None:
    """What was not published is an error, even if there is a file of its name; absolute paths are on the disk."""
    (tmp_path / "bad.txt").write_text("192.0.2.1\n")
    file = RuleFile(str(tmp_path / "rules.yaml"), ITEM)
    published = PublishedFiles({"bad.txt": PackedFile(gzip.compress(b"198.51.100.7\n"), 0)})
    found = load_rules([file], published).indicators["bad"].indicators
    assert (found.holds("198.51.100.7"), found.holds("192.0.2.1"), found.is_local) == (True, False, False)
    none = PublishedFiles({}, (tmp_path,))
    assert load_rules([file], none).errors[0].message == "Could not read the file: it was not published with the rules"
    local = dataclasses.replace(file, text=ITEM.replace("bad.txt", f"{tmp_path}/bad.txt"))
    assert load_rules([local], none).indicators["bad"].indicators.holds("192.0.2.1")


@pytest.mark.parametrize("kind", ["address", "name", "digest", "text"])
def test_published_rules_read_no_file_outside_of_the_allowed_folders(tmp_path: Path, kind: str) -> None:
    """By no path and no link, such as that of password hashes."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link.txt").symlink_to("/etc/shadow")
    for path in ("/etc/shadow", f"{allowed}/../../../../../../../etc/shadow", f"{allowed}/link.txt", "/dev/zero"):
        item = f"- indicators: bad\n  file: {path}\n  format: text\n  kind: {kind}\n"
        loaded = load_rules([RuleFile("rules.yaml", item)], PublishedFiles({}, (allowed,)))
        (problem,) = indicator_problems(loaded)
        assert problem.message == f"Could not read the file: it is not below {allowed}"
        assert "indicator_folders" in problem.hint
        assert not loaded.indicators["bad"].indicators.holds("root")
        assert len(loaded.indicators["bad"].indicators.contents.table) == 0


@pytest.mark.parametrize("form", ["text", "csv", "stix", "misp"])
def test_no_line_of_a_file_is_quoted_that_is_no_list(tmp_path: Path, form: str) -> None:
    """Whoever writes a rule file may not read the file; of a list, the few lines that can't be used are quoted."""
    secret = "root:$y$j9T$c2VjcmV0:20420:0:99999:7:::"
    (tmp_path / "shadow").write_text(f"{secret}\n" * 3)
    item = f"- indicators: bad\n  file: {tmp_path}/shadow\n  format: {form}\n  kind: address\n"
    found = indicator_problems(load_rules([RuleFile("rules.yaml", item)]))
    assert found
    assert not any("$y$j9T" in str(each) for each in found)
    list_of = loaded(tmp_path, ITEM, f"198.51.100.7\n198.51.100.8\n{secret}\n")
    assert "$y$j9T" in indicator_problems(list_of)[0].message


def test_changed_entries_are_a_difference(tmp_path: Path) -> None:
    """So is another file, or another way of reading it; Falco knows neither the item nor the operator."""
    old = loaded(tmp_path, ITEM)
    new = loaded(tmp_path, ITEM, "192.0.2.1\n")
    assert [each.text for each in difference(new, new)] == []
    old.indicators["bad"].indicators.load()
    changed = loaded(tmp_path, ITEM.replace("A feed", "B"), "192.0.2.1\n192.0.2.2\n")
    assert [each.text for each in difference(new, changed)] == [
        "~ indicators bad: entries changed, how it is read changed"
    ]
    file = RuleFile("r.yaml", ITEM + rule("fd.sip in_indicators (bad)", "%indicator.name"))
    assert [(each.line, each.message) for each in falco_problems([file])] == [
        (1, "Falco has no lists of indicators and ignores the item"),
        (7, "Falco has no 'in_indicators'"),
        (8, "Falco has no field 'indicator.name'"),
    ]
