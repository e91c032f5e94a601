import time
from pathlib import Path

from lanner.ruleset.indicator_files import IndicatorFiles
from processor.loading import RuleFile, load_rules


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
