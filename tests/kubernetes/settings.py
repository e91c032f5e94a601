"""The files with which the node's programs are started."""

import json
import secrets
import subprocess
from pathlib import Path

from tests.kubernetes.images import PAUSE

NAME = "lanner-node"
ADDRESS = "192.168.77.2"
SERVICE = "10.96.0.1"
"""The API server's address in pods: the node has it too, because there is no kube-proxy that leads to another one."""
API = f"https://{ADDRESS}:443"
_USERS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kubelet": (f"system:node:{NAME}", "system:nodes"),
}
_CERTIFICATES = {
    "apiserver": (
        "/CN=kube-apiserver",
        f"IP:127.0.0.1,IP:{SERVICE},IP:{ADDRESS},DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc",
    ),
    "kubelet": (f"/CN={NAME}", f"IP:{ADDRESS},DNS:{NAME}"),
    "apiserver-client": ("/O=system:masters/CN=kube-apiserver-kubelet-client", ""),
}


def write_settings(folder: Path, programs: Path) -> None:
    """Write certificates, credentials and settings of a new cluster."""
    _write_certificates(folder)
    tokens = {name: secrets.token_hex(16) for name in _USERS}
    rows = [f'{tokens[name]},{user},{name},"{groups}"' for name, (user, groups) in _USERS.items()]
    (folder / "tokens.csv").write_text("\n".join(rows) + "\n")
    for name, (user, _) in _USERS.items():
        (folder / f"{name}.conf").write_text(json.dumps(_credentials(folder, user, tokens[name])))
    (folder / "kubelet.yaml").write_text(json.dumps(_kubelet(folder)))
    (folder / "containerd.toml").write_text(_CONTAINERD.format(pause=PAUSE, cni=programs / "cni", folder=folder))
    (folder / "cni").mkdir()
    (folder / "static").mkdir()
    (folder / "cni/10-bridge.conflist").write_text(json.dumps(_NETWORK))


def _write_certificates(folder: Path) -> None:
    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("genrsa", "-out", "accounts.key", "2048")
    openssl("rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub")
    for name, (subject, names) in _CERTIFICATES.items():
        extensions = "extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={names}\n" if names else "")
        (folder / f"{name}.ext").write_text(extensions)
        request = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, *request)
        authority = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", f"{name}.ext")
        openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-out", f"{name}.crt")


def _credentials(folder: Path, user: str, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "node", "cluster": {"server": API, "certificate-authority": str(folder / "ca.crt")}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": user}}],
        "current-context": "node",
    }


def _kubelet(folder: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(folder / "ca.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": str(folder / "kubelet.crt"),
        "tlsPrivateKeyFile": str(folder / "kubelet.key"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # There are no firewall rules in the node's network, and no kube-proxy.
        "makeIPTablesUtilChains": False,
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "clusterDomain": "cluster.local",
        "clusterDNS": [ADDRESS],
        "syncFrequency": "10s",
        "staticPodPath": str(folder / "static"),
        "fileCheckFrequency": "1s",
    }


_NETWORK = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
    ],
}
_CONTAINERD = """
version = 2
root = "{folder}/data/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Without CAP_SYS_RESOURCE, no process may lower its oom_score_adj.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni"
"""
