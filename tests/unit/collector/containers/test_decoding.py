import json
from pathlib import Path

import pytest

from collector.containers.decoding import MAX_AT_ONCE, MAX_BYTES, ResponseTooLarge, decoded

PADDING = ["X=" + "x" * 100_000] * 40
SPEC = {"process": {"user": {"uid": 0}}, "mounts": [{"source": "/", "options": ["ro", "rbind"]}], "a": [1, None, True]}


def test_a_small_text_is_decoded_as_it_is() -> None:
    """Whatever it contains."""
    assert decoded(json.dumps([SPEC, "x" * 10_000]).encode()) == [SPEC, "x" * 10_000]


def test_a_large_text_is_decoded_without_long_texts() -> None:
    """What facts are made of stays, whatever it is padded with."""
    labels = {f"l{number}": "x" * 4000 for number in range(300)} | {"io.kubernetes.pod.name": "web", "z": "x" * 5000}
    large = json.dumps({**SPEC, "env": PADDING, "labels": labels}).encode()
    assert MAX_AT_ONCE < len(large) < MAX_BYTES

    found = decoded(large)

    assert isinstance(found, dict)
    assert {name: found[name] for name in SPEC} == SPEC
    assert found["env"] == []
    assert (len(found["labels"]), found["labels"]["io.kubernetes.pod.name"]) == (256, "web")


@pytest.mark.parametrize(
    "text",
    [
        b"x" * (MAX_BYTES + 1),
        b"[" + b"[]," * 5_000_000 + b"1]",
        b"[" + b"1," * 1_000_000 + b"1]",
        b"[" * 2_000_000,
        b"{" + b" " * 2_000_000,
    ],
)
def test_what_needs_too_much_is_too_large(text: bytes) -> None:
    """More than is read, more memory, more of it left, nested too deeply, or not JSON."""
    with pytest.raises(ResponseTooLarge):
        decoded(text)


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_an_error(text: bytes) -> None:
    """A runtime is still writing it, or it's something else."""
    with pytest.raises(ValueError):  # noqa: PT011 - any of json's
        decoded(text)


def test_nothing_stays_open() -> None:
    """A process and its pipes for each text would add up."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    decoded(json.dumps(PADDING).encode())

    assert len(list(Path("/proc/self/fd").iterdir())) == before
