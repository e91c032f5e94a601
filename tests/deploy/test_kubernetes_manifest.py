"""deploy/kubernetes/lanner.yaml: valid for each supported version of Kubernetes, with the chart's rights."""

from pathlib import Path

import pytest

from lanner.settings import load_settings
from tests.deploy.helm.schemas import VERSIONS, Object, faults, objects

EVERY = objects(Path("deploy/kubernetes/lanner.yaml").read_text())
[DAEMON] = (each for each in EVERY if each["kind"] == "DaemonSet")
POD: Object = DAEMON["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version: str) -> None:
    """Each version of the API knows every field, and each required one is there."""
    assert [fault for each in EVERY for fault in faults(version, each)] == []


def test_the_pod_has_three_capabilities_and_one_folder_to_write_to() -> None:
    """It isn't privileged, has no rights at the API, and everything else of the host is read-only."""
    [container] = POD["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"]}
    assert security["allowPrivilegeEscalation"] is False
    assert POD["automountServiceAccountToken"] is False
    host = {volume["name"]: volume["hostPath"]["path"] for volume in POD["volumes"] if "hostPath" in volume}
    writable = {host.get(each["name"]) for each in container["volumeMounts"] if not each.get("readOnly")} - {None}
    assert writable == {"/var/lib/lanner"}


def test_it_is_in_one_namespace_that_admits_it() -> None:
    """The namespace comes first, and its level allows what the pod needs."""
    assert EVERY[0]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}
    assert {each["metadata"]["namespace"] for each in EVERY[1:]} == {EVERY[0]["metadata"]["name"]}


def test_lanner_accepts_the_settings(tmp_path: Path) -> None:
    """Alerts are written as JSON."""
    [text] = (each["data"]["lanner.yaml"] for each in EVERY if "lanner.yaml" in each.get("data", {}))
    file = tmp_path / "lanner.yaml"
    file.write_text(text)
    assert load_settings(file, (), {}).json_output is True
