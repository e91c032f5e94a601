"""Docker's responses about invented containers."""

import json
from typing import Any
from urllib.parse import quote

ID = "3d09256ebd53e581615d1a65971dcbac3ae1614adfae4b06c829c5f8f5678ec6"
SANDBOX = "b" * 64
IMAGE = "sha256:" + "5" * 64
LISTED = "/containers/json?all=true&filters=" + quote(json.dumps({"id": [ID]}))
"""The path of the list with this container alone."""
DIGEST = "sha256:" + "d" * 64


def inspected(**changes: Any) -> dict[str, Any]:
    """Return an answer to GET /containers/ID/json; changes replace whole parts."""
    answer: dict[str, Any] = {
        "Id": ID,
        "Name": "/web",
        "Image": IMAGE,
        "State": {"Running": True, "StartedAt": "2026-11-24T14:31:30.479359480Z"},
        "Config": {"Image": "registry:5000/team/web:1.2", "User": "app", "Labels": {"app": "web"}},
        "HostConfig": {"Privileged": False, "PidMode": "", "NetworkMode": "default", "IpcMode": "private"},
        "Mounts": [
            {
                "Type": "bind",
                "Source": "/srv",
                "Destination": "/data",
                "Mode": "ro",
                "RW": False,
                "Propagation": "rprivate",
            }
        ],
        "NetworkSettings": {"IPAddress": "172.17.0.2", "Networks": {}},
    }
    return {**answer, **changes}


def entry() -> dict[str, Any]:
    """Return the container's entry in an answer to GET /containers/json."""
    answer = inspected()
    return {
        "Id": ID,
        "Names": ["/other/alias", "/web"],
        "Image": answer["Config"]["Image"],
        "ImageID": IMAGE,
        "Labels": answer["Config"]["Labels"],
        "HostConfig": {"NetworkMode": "default"},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
        "Mounts": answer["Mounts"],
    }


def image() -> dict[str, Any]:
    """Return an answer to GET /images/ID/json."""
    return {"RepoTags": ["registry:5000/team/web:1.2"], "RepoDigests": [f"registry:5000/team/web@{DIGEST}"]}
