from pathlib import Path

import pytest

from schemas.encoding.recording import read_recording
from tests.live.lanner.watching import RULES, Watching, small_disk, touch_mark
from tests.unit.lanner.program import fresh as run_to_its_end

pytestmark = pytest.mark.live


def test_a_recording_gives_the_alerts_that_live_detection_gave(rules: Path, tmp_path: Path) -> None:
    """And one more, of a rule that was written afterwards."""
    recording = tmp_path / "events.avro"
    with Watching("run", "-r", rules) as live, Watching("record", recording) as recorder:
        mark = touch_mark(tmp_path)
        reported = live.out.wait_for(str(mark))
        assert recorder.end() == 0

    replayed = run_to_its_end("replay", recording, "-r", rules)
    assert replayed.returncode == 0
    # Two collectors stamp an event a microsecond apart.
    assert replayed.stdout.split(": ", 1)[1] == reported.split(": ", 1)[1] + "\n"

    later = tmp_path / "later.yaml"
    later.write_text(
        RULES.replace("Marked", "Later").replace("evt.type = openat and", "evt.type in (openat, open) and")
    )
    assert "Later file read: 1" in run_to_its_end("replay", recording, "-r", later).stderr


def test_a_capture_gives_the_alerts_that_live_detection_gave(rules: Path, tmp_path: Path) -> None:
    """It holds the process that made the event, its parents and its user."""
    capture = tmp_path / "events.scap.gz"
    with Watching("run", "-r", rules) as live, Watching("record", "--scap", capture) as recorder:
        mark = touch_mark(tmp_path)
        reported = live.out.wait_for(str(mark))
        assert recorder.end() == 0

    assert "the capture holds" in recorder.err.text
    assert not (tmp_path / "events.scap.gz.avro.part").exists()
    replayed = run_to_its_end("replay", capture, "-r", rules)
    assert replayed.returncode == 0
    # Two collectors stamp an event a microsecond apart.
    assert replayed.stdout.split(": ", 1)[1] == reported.split(": ", 1)[1] + "\n"


def test_a_full_disk_ends_the_recording_with_a_sentence(tmp_path: Path) -> None:
    """What fitted can be replayed."""
    with small_disk(tmp_path / "disk", 64) as disk:
        recording = disk / "events.avro"
        with Watching("record", recording) as recorder:
            for number in range(300):
                if recorder.process.poll() is not None:
                    break
                touch_mark(tmp_path, f"{'x' * 100}{number}")
            assert recorder.wait() == 1
        assert "No space left on device" in recorder.err.text
        assert "can be replayed" in recorder.err.text
        assert "Traceback" not in recorder.err.text

        batches = read_recording(recording)
        assert next(batches).count > 0
        with pytest.raises(ValueError, match="not a complete recording"):
            list(batches)
        assert run_to_its_end("replay", recording).returncode == 1


def test_a_path_that_cannot_be_written_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """Exit code 1, one line."""
    done = run_to_its_end("record", tmp_path / "no" / "such" / "folder.avro")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
