"""Docker's responses about invented containers."""

from typing import Any

ID = "3d09256ebd53e581615d1a65971dcbac3ae1614adfae4b06c829c5f8f5678ec6"
SANDBOX = "b" * 64
IMAGE = "sha256:" + "5" * 64
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


def image() -> dict[str, Any]:
    """Return an answer to GET /images/ID/json."""
    return {"RepoTags": ["registry:5000/team/web:1.2"], "RepoDigests": [f"registry:5000/team/web@{DIGEST}"]}
