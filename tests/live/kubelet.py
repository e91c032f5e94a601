"""Drives a runtime over CRI as the kubelet does: sandboxes, containers in them, commands."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from collector.containers.grpc import call
from collector.containers.protobuf import Message, encode
from tests.live.containerd import BUSYBOX

UID = "11111111-2222-4333-8444-555555555555"
_NODE = 2

Fields = Sequence[tuple[int, int | str | bytes]]


class Kubelet:
    """One node's view of a runtime.

    Args:
        socket: the runtime's socket.
        cgroup_parent: the cgroup below which those of pods are made.
    """

    def __init__(self, socket: Path, cgroup_parent: str = "/kubepods/besteffort") -> None:
        self._socket = socket
        self._cgroup_parent = cgroup_parent

    @contextmanager
    def pod(
        self, name: str, namespace: str, labels: dict[str, str] | None = None, *, privileged: bool = False
    ) -> Iterator["Pod"]:
        """Run a pod's sandbox on the host's network until the end of the block."""
        kubelets = {
            "io.kubernetes.pod.name": name,
            "io.kubernetes.pod.namespace": namespace,
            "io.kubernetes.pod.uid": UID,
        }
        security = encode([(1, encode([(1, _NODE)])), (6, int(privileged))])
        config = encode(
            [
                (1, encode([(1, name), (2, UID), (3, namespace)])),
                *_labels(6, {**(labels or {}), **kubelets}),
                (8, encode([(1, f"{self._cgroup_parent}/pod{UID}"), (2, security)])),
            ]
        )
        sandbox = self.call("RunPodSandbox", [(1, config)]).text(1)
        try:
            yield Pod(self, sandbox, config, kubelets)
        finally:
            self.call("StopPodSandbox", [(1, sandbox)])
            self.call("RemovePodSandbox", [(1, sandbox)])

    def call(self, method: str, fields: Fields) -> Message:
        """Call a method of the runtime service."""
        return Message(call(self._socket, f"/runtime.v1.RuntimeService/{method}", encode(fields), 60))


class Pod:
    """A running sandbox."""

    def __init__(self, kubelet: Kubelet, sandbox: str, config: bytes, labels: dict[str, str]) -> None:
        """Take the sandbox's id and its encoded configuration."""
        self.sandbox = sandbox
        self._kubelet = kubelet
        self._config = config
        self._labels = labels

    def start(self, name: str, *command: str, image: str = BUSYBOX, privileged: bool = False) -> str:
        """Start a container; return its id."""
        config = encode(
            [
                (1, encode([(1, name)])),
                (2, encode([(1, image)])),
                *((3, word) for word in command),
                *_labels(9, {**self._labels, "io.kubernetes.container.name": name}),
                (15, encode([(2, encode([(2, int(privileged)), (3, encode([(1, _NODE)]))]))])),
            ]
        )
        request: Fields = [(1, self.sandbox), (2, config), (3, self._config)]
        container = self._kubelet.call("CreateContainer", request).text(1)
        self._kubelet.call("StartContainer", [(1, container)])
        return container

    def exec(self, container: str, *command: str) -> str:
        """Run a command in a container to its end; return its output."""
        request: Fields = [(1, container), *((2, word) for word in command), (3, 30)]
        return self._kubelet.call("ExecSync", request).text(1)


def _labels(number: int, labels: dict[str, str]) -> list[tuple[int, bytes]]:
    return [(number, encode([(1, key), (2, value)])) for key, value in labels.items()]
