"""What real runtimes answered, recorded on a Kubernetes node; the folder is beside the repository."""

import json
from typing import Any

from collector.containers.protobuf import encode
from tests.reference import needs, shared_dir

ANSWERS = shared_dir() / "kubernetes" / "answers"

with_answers = needs(ANSWERS)

NGINX = {
    "name": "nginx",
    "image": "docker.io/library/nginx:1.27",
    "image_repository": "docker.io/library/nginx",
    "image_tag": "1.27",
    "privileged": False,
    "user": "0",
    "pod_namespace": "prod",
}
"""What every runtime reported of the same container."""

_MAP_ENTRY = (1, 2)


def recorded(name: str) -> Any:
    """Return a recorded answer."""
    return json.loads((ANSWERS / name).read_text())


def container_status(answer: dict[str, Any]) -> bytes:
    """Encode a recorded ContainerStatusResponse as its runtime sent it."""
    status = answer["status"]
    mounts = [
        encode([(1, each["container_path"]), (2, each["host_path"]), (3, int(each.get("readonly", False)))])
        for each in status.get("mounts", ())
    ]
    return _response(
        answer,
        [
            (1, status["id"]),
            (2, encode([(1, status["metadata"]["name"])])),
            (3, 1),
            (4, int(status["created_at"])),
            (5, int(status["started_at"])),
            (8, encode([(1, status["image"]["image"]), (18, status["image"].get("user_specified_image", ""))])),
            (9, status["image_ref"]),
            *_mapping(12, status["labels"]),
            *((14, mount) for mount in mounts),
            (17, status.get("image_id", "")),
        ],
    )


def sandbox_status(answer: dict[str, Any]) -> bytes:
    """Encode a recorded PodSandboxStatusResponse as its runtime sent it."""
    status = answer["status"]
    metadata = status["metadata"]
    return _response(
        answer,
        [
            (1, status["id"]),
            (2, encode([(1, metadata["name"]), (2, metadata["uid"]), (3, metadata["namespace"])])),
            (4, int(status["created_at"])),
            (5, encode([(1, status["network"]["ip"])])),
            *_mapping(7, status["labels"]),
        ],
    )


def _response(answer: dict[str, Any], status: list[tuple[int, int | str | bytes]]) -> bytes:
    info = {key: value if isinstance(value, str) else json.dumps(value) for key, value in answer["info"].items()}
    return encode([(1, encode(status)), *_mapping(2, info)])


def _mapping(number: int, values: dict[str, str]) -> list[tuple[int, bytes]]:
    return [(number, encode(list(zip(_MAP_ENTRY, pair, strict=True)))) for pair in values.items()]
