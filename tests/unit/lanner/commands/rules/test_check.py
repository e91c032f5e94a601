from pathlib import Path

from tests.unit.lanner.program import lanner
from tests.unit.lanner.sigma.converted import rule


def test_rules_are_printed_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    """Rules on standard output; reasons and counts on standard error."""
    (tmp_path / "a.yml").write_text(rule("Image: /a"))
    (tmp_path / "b.yml").write_text(rule("Hashes: x", number=2))
    done = lanner("rules", "convert", "sigma", tmp_path)
    assert done.returncode == 0
    assert "- rule: one\n" in done.stdout
    assert done.stderr == (
        f"{tmp_path}/b.yml: 00000000-0000-4000-8000-000000000002: the field Hashes has no equivalent\n"
        "1 rule converted, 1 rejected\n"
    )
    assert lanner("rules", "convert", "sigma", tmp_path, "--strict").returncode == 1


def test_a_file_that_cannot_be_read_does_not_stop_a_folder(tmp_path: Path) -> None:
    """It is named once, with the reason."""
    (tmp_path / "a.yml").write_text(rule("Image: /a"))
    (tmp_path / "b.yml").write_bytes(b"\xff")
    done = lanner("rules", "convert", "sigma", tmp_path)

    assert done.returncode == 0
    assert f"{tmp_path}/b.yml: the whole file: can't be read: 'utf-8' codec" in done.stderr
    assert "1 rule converted, 1 rejected" in done.stderr


def test_the_written_files_are_valid(tmp_path: Path) -> None:
    """The rules on their own and without a warning; their tests pass."""
    (tmp_path / "a.yml").write_text(rule("Image: /a"))
    made = tmp_path / "made.yaml"
    assert lanner("rules", "convert", "sigma", tmp_path / "a.yml", "--output", made).returncode == 0
    assert lanner("rules", "validate", "--alone", "--strict", made).returncode == 0
    assert lanner("rules", "test", "--strict", made).returncode == 0


def test_without_a_rule_nothing_is_written(tmp_path: Path) -> None:
    """Because there is none, or none that can be converted."""
    (tmp_path / "a.yml").write_text("a: 1\n")
    made = tmp_path / "made.yaml"
    none = lanner("rules", "convert", "sigma", tmp_path, "--output", made)
    assert (none.returncode, none.stdout) == (1, "")
    assert "no Sigma rule for Linux" in none.stderr

    (tmp_path / "a.yml").write_text(rule("Hashes: x"))
    rejected = lanner("rules", "convert", "sigma", tmp_path, "--output", made)
    assert (rejected.returncode, rejected.stdout) == (1, "")
    assert "the field Hashes has no equivalent" in rejected.stderr
    assert "no rule can be converted" in rejected.stderr
    assert not made.exists()
