import json
from typing import Any

import pytest

from processor.fields.json.documents import Document
from schemas.catalog.fields import FIELDS, K8S_AUDIT, has_field
from tests.unit.processor.detection.requests import TIME, exec_request, pod_request, request

POD = pod_request(
    hostNetwork=True,
    hostPID=False,
    securityContext={"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [1, 2]},
    volumes=[
        {"name": "a", "hostPath": {"path": "/etc"}},
        {"name": "b", "emptyDir": {}},
        {"name": "c", "flexVolume": {"driver": "x"}},
    ],
    initContainers=[{"image": "init:1"}],
    containers=[
        {
            "name": "one",
            "image": "reg/a:1",
            "command": ["sh", "-c"],
            "args": ["id", "-u"],
            "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 90}],
            "securityContext": {
                "privileged": True,
                "runAsUser": 9,
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "procMount": "Default",
                "capabilities": {"add": ["SYS_ADMIN", "NET_RAW"]},
            },
        },
        {"name": "two", "image": "b@sha256:00"},
    ],
)
BINDING = request(
    requestObject={
        "roleRef": {"name": "cluster-admin"},
        "subjects": [
            {"kind": "User", "name": "eve"},
            {"kind": "Group", "name": "ops"},
            {"kind": "ServiceAccount", "name": "ci", "namespace": "prod"},
        ],
    }
)
ROLE = request(requestObject={"rules": [{"verbs": ["get", "list"], "resources": ["pods"]}, {"verbs": ["*"]}]})
SERVICE = request(requestObject={"spec": {"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}})


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        (request(), "ka.verb", "get"),
        (request(), "ka.user.groups", ("dev", "system:authenticated")),
        (request(), "ka.sourceips", ("192.0.2.7", "192.0.2.1")),
        (request(), "ka.sourceips[1]", ("192.0.2.1",)),
        (request(), "ka.response.code", "200"),
        (request(), "ka.auth.decision", "allow"),
        (request(), "ka.target.subresource", None),
        (exec_request("sh", "-c", "a%20b"), "ka.uri.param[command]", "sh"),
        (exec_request("a%20b"), "ka.uri.param[command]", "a b"),
        (exec_request("sh"), "ka.uri.param[none]", None),
        (POD, "ka.target.pod.name", "web"),
        (exec_request("sh"), "ka.target.pod.name", None),
        (POD, "ka.req.pod.host_network", "true"),
        (POD, "ka.req.container.host_network", "true"),
        (POD, "ka.req.pod.host_pid", "false"),
        (POD, "ka.req.pod.host_ipc", None),
        (POD, "ka.req.pod.run_as_user", "5"),
        (POD, "ka.req.pod.fs_group", "7"),
        (POD, "ka.req.pod.supplemental_groups", ("1", "2")),
        (POD, "ka.req.pod.containers.name", ("one", "two")),
        (POD, "ka.req.pod.containers.image[1]", ("b@sha256:00",)),
        (POD, "ka.req.pod.containers.image[2]", ()),
        (POD, "ka.req.pod.containers.image.repository", ("reg/a", "b")),
        (POD, "ka.req.pod.initContainers.image.repository", ("init",)),
        (POD, "ka.req.pod.ephemeralContainers.image", ()),
        (POD, "ka.req.container.image", "reg/a:1"),
        (POD, "ka.req.container.image.repository", "reg/a"),
        (POD, "ka.req.container.privileged", "true"),
        (request(), "ka.req.container.privileged", None),
        (POD, "ka.req.pod.containers.command", ("sh -c",)),
        (POD, "ka.req.pod.containers.args", ("id -u",)),
        (POD, "ka.req.pod.containers.privileged", ("true",)),
        (POD, "ka.req.pod.containers.allow_privilege_escalation", ("false",)),
        (POD, "ka.req.pod.containers.read_only_fs", ("true",)),
        (POD, "ka.req.pod.containers.run_as_user", ("9",)),
        (POD, "ka.req.pod.containers.eff_run_as_user", ("9", "5")),
        (POD, "ka.req.pod.containers.eff_run_as_group", ("0", "0")),
        (POD, "ka.req.pod.containers.proc_mount", ("Default",)),
        (POD, "ka.req.pod.containers.add_capabilities", ("SYS_ADMIN", "NET_RAW")),
        (POD, "ka.req.pod.containers.host_port", ("8080", "90")),
        (POD, "ka.req.pod.volumes.hostpath", ("/etc",)),
        (POD, "ka.req.pod.volumes.flexvolume_driver", ("x",)),
        (POD, "ka.req.pod.volumes.volume_type", ("hostPath", "emptyDir", "flexVolume")),
        (POD, "ka.req.volume.hostpath[/etc]", "true"),
        (POD, "ka.req.volume.hostpath[/e*]", "true"),
        (POD, "ka.req.volume.hostpath[/proc]", "false"),
        (BINDING, "ka.req.binding.role", "cluster-admin"),
        (BINDING, "ka.req.binding.subjects.user_names", ("eve",)),
        (BINDING, "ka.req.binding.subjects.group_names", ("ops",)),
        (BINDING, "ka.req.binding.subjects.serviceaccount_names", ("ci",)),
        (BINDING, "ka.req.binding.subjects.serviceaccount_ns_names", ("prod:ci",)),
        (ROLE, "ka.req.role.rules.verbs", ("get", "list", "*")),
        (ROLE, "ka.req.role.rules.verbs[1]", ("*",)),
        (ROLE, "ka.req.role.rules.resources", ("pods",)),
        (ROLE, "ka.req.role.rules", ('{"verbs":["get","list"],"resources":["pods"]}', '{"verbs":["*"]}')),
        (SERVICE, "ka.req.service.type", "NodePort"),
        (SERVICE, "ka.req.service.ports", ('{"port":80}', '{"port":81}')),
        (request(requestObject={"data": {"k": "passwörd"}}), "ka.req.configmap.obj", '{"k":"passwörd"}'),
        (request(), "jevt.value[/objectRef/name]", "db"),
        (request(), "json.value[/sourceIPs/1]", "192.0.2.1"),
        (request(), "jevt.value[/sourceIPs/2]", None),
        (request(), "jevt.value[/objectRef]", '{"resource":"secrets","namespace":"prod","name":"db"}'),
        (request(), "jevt.value[/annotations/authorization.k8s.io~1decision]", "allow"),
        (request(n=None), "jevt.value[/n]", "null"),
        (request(), "jevt.rawtime", str(TIME)),
        (request(), "jevt.obj", json.dumps(request(), indent=2)),
        (request(), "evt.rawtime", TIME),
        (request(), "evt.source", "k8s_audit"),
    ],
)
def test_a_field_has_its_value(event: dict[str, Any], field: str, value: object) -> None:
    """Names and meanings are Falco's."""
    assert Document(event, TIME)[field] == value


def test_every_field_of_the_source_can_be_read_of_every_event() -> None:
    """Also with an argument, where it takes one."""
    for spec in FIELDS.values():
        if has_field(K8S_AUDIT, spec):
            for event in (request(), POD, BINDING, ROLE, SERVICE, {}):
                _ = Document(event, TIME)[spec.name if spec.argument == "none" else f"{spec.name}[0]"]
