from pathlib import Path

import pytest

from lanner.recorder.recording import incident_lines, read_incident
from schemas.encoding.recording import RecordingWriter
from tests.unit.recordings import shadow_read, write_recording


def with_header(path: Path, text: str) -> Path:
    """Write an empty recording with a header."""
    RecordingWriter(path, metadata={"lanner.incident": text}).close()
    return path


def test_time_hosts_alerts_versions_and_what_was_left_out_are_stated() -> None:
    """Rules that alerted repeatedly are named once, and of many only the first."""
    stated = {
        "since": "2026-11-27T10:00:00Z",
        "until": "2026-11-27T10:03:00Z",
        "hosts": ["web-3"],
        "alerts": [{"rule": f"R{number % 7}"} for number in range(9)],
        "rules_versions": ["3f2a"],
        "remark": "Events furthest from the alert were left out.",
    }

    first, *others = incident_lines(stated)

    assert first.startswith("incident of 2026-11-27T10:00:00Z to 2026-11-27T10:03:00Z on web-3, with 9 alerts then: ")
    assert first.endswith(": R0, R1, R2, R3, R4 and 2 more")
    assert others == ["versions of the rules then: 3f2a", "Events furthest from the alert were left out."]


@pytest.mark.parametrize(
    "text", ["{}", '{"alerts": 5, "hosts": {}, "rules_versions": "x"}', '{"alerts": [null, [], {"rule": []}]}']
)
def test_a_header_of_other_types_is_no_fault(text: str, tmp_path: Path) -> None:
    """Whoever made the file chose it."""
    stated = read_incident(with_header(tmp_path / "x.avro", text))

    assert stated is not None
    assert incident_lines(stated)


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000, "null"])
def test_a_header_without_an_object_is_no_incident(text: str, tmp_path: Path) -> None:
    """Not JSON, nested too deeply, or something else."""
    assert read_incident(with_header(tmp_path / "x.avro", text)) is None


@pytest.mark.parametrize("data", [b"", b"Obj", b"Obj\1", b"Obj\1\xff\xff\xff", b"\n- rule: x"])
def test_a_damaged_or_other_file_is_no_incident(data: bytes, tmp_path: Path) -> None:
    """What reads its events reports the damage."""
    path = tmp_path / "x.avro"
    path.write_bytes(data)

    assert read_incident(path) is None
    assert read_incident(write_recording(tmp_path / "y.avro", shadow_read())) is None
