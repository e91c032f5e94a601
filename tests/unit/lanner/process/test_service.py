import os
from pathlib import Path

from lanner.process.service import FileWatch


def test_a_written_a_replaced_and_a_removed_file_each_show_once(tmp_path: Path) -> None:
    """Editors write, rename or remove; each change is reported once."""
    path, other = tmp_path / "a.yaml", tmp_path / "b.yaml"
    path.write_text("a")
    watch = FileWatch([path])
    assert not watch.changed()

    path.write_text("ab")
    assert watch.changed()
    assert not watch.changed()

    other.write_text("ab")
    other.rename(path)
    assert watch.changed()

    path.unlink()
    assert watch.changed()
    assert not watch.changed()


def test_a_symlink_that_points_elsewhere_shows(tmp_path: Path) -> None:
    """Kubernetes changes a mounted ConfigMap by a symlink above the file."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text("same")
    link = tmp_path / "data"
    link.symlink_to("one")
    watch = FileWatch([link / "a.yaml"])

    fresh = tmp_path / "fresh"
    fresh.symlink_to("two")
    os.replace(fresh, link)  # noqa: PTH105  # a rename over a symlink, not to where it points

    assert watch.changed()
