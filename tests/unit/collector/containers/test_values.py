import json
from pathlib import Path

import pytest

from collector.containers.values import (
    MAX_AT_ONCE,
    MAX_BYTES,
    ImageName,
    ResponseTooLarge,
    decoded,
    is_image_id,
    normalized,
    split_image,
)

PADDING = ["X=" + "x" * 100_000] * 40
SPEC = {"process": {"user": {"uid": 0}}, "mounts": [{"source": "/", "options": ["ro", "rbind"]}], "a": [1, None, True]}


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("team/web", "docker.io/team/web:latest"),
        ("localhost/web:2", "localhost/web:2"),
        ("registry:5000/web:2", "registry:5000/web:2"),
        ("quay.io/a/b@sha256:00", "quay.io/a/b@sha256:00"),
        ("quay.io/a/b:1@sha256:00", "quay.io/a/b:1@sha256:00"),
    ],
)
def test_a_short_reference_is_completed(written: str, full: str) -> None:
    """As docker pull and the runtimes do."""
    assert normalized(written) == full
    assert normalized(full) == full


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("busybox", ImageName("busybox", "latest", None)),
        ("bar/busybox:1", ImageName("bar/busybox", "1", None)),
        ("reg:5000/a/b", ImageName("reg:5000/a/b", "latest", None)),
        ("reg:5000/a/b:2@sha256:ab", ImageName("reg:5000/a/b", "2", "sha256:ab")),
        ("a@sha256:ab", ImageName("a", None, "sha256:ab")),
    ],
)
def test_image_references_are_split(reference: str, expected: ImageName) -> None:
    """A port is not a tag."""
    assert split_image(reference) == expected


def test_an_id_is_no_name() -> None:
    """With and without the algorithm in front."""
    assert is_image_id("5" * 64)
    assert is_image_id("sha256:" + "a" * 64)
    assert not is_image_id("nginx")


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
