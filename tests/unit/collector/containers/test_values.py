import pytest

from collector.containers.values import ImageName, is_image_id, normalized, split_image


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
