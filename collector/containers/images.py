"""Image references such as registry:5000/team/web:1.2@sha256:..., split into parts and completed."""

from dataclasses import dataclass

_DEFAULT_REGISTRY = "docker.io"
_OFFICIAL = "library"


@dataclass(frozen=True, slots=True)
class ImageName:
    """The parts of an image reference."""

    repository: str
    tag: str | None
    digest: str | None


def split_image(reference: str) -> ImageName:
    """Split an image reference; without tag and digest the tag is latest, as for docker run.

    Source: the reference grammar of github.com/distribution/reference.
    """
    rest, _, digest = reference.partition("@")
    folder, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if not colon and not digest:
        tag = "latest"
    return ImageName(folder + slash + last, tag or None, digest or None)


def normalized(reference: str) -> str:
    """Return a reference with registry and tag: `nginx` becomes `docker.io/library/nginx:latest`.

    The kubelet passes the pod's reference as its author wrote it, and runtimes that complete it do so in this way.

    Source: ParseDockerRef of github.com/distribution/reference.
    """
    parts = split_image(reference)
    registry, slash, path = parts.repository.partition("/")
    if not slash:
        repository = f"{_DEFAULT_REGISTRY}/{_OFFICIAL}/{parts.repository}"
    elif not ("." in registry or ":" in registry or registry == "localhost"):
        repository = f"{_DEFAULT_REGISTRY}/{parts.repository}"
    elif registry == _DEFAULT_REGISTRY and "/" not in path:
        repository = f"{_DEFAULT_REGISTRY}/{_OFFICIAL}/{path}"
    else:
        repository = parts.repository
    tag = f":{parts.tag}" if parts.tag else ""
    digest = f"@{parts.digest}" if parts.digest else ""
    return repository + tag + digest


def is_image_id(reference: str) -> bool:
    """Return whether a reference is only an image's id, which no person would write into an exception."""
    bare = reference.removeprefix("sha256:")
    return len(bare) == 64 and all(digit in "0123456789abcdef" for digit in bare)
