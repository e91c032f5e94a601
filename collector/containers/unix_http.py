"""HTTP requests to a container runtime's socket. A module of its own, because `http.client` takes 3 MiB."""

import http.client
from pathlib import Path

from collector.containers.protocol import RuntimeConnection
from collector.containers.values import MAX_BYTES


def get(socket: Path, path: str, timeout: float, *, is_configured: bool) -> tuple[int, bytes]:
    """Send a GET request; return the status and the body, which is longer than MAX_BYTES if it was cut off.

    Args:
        socket: of the runtime.
        path: of the request.
        timeout: seconds for each step.
        is_configured: whether a user chose the socket.

    Raises:
        OSError: the runtime can't be reached, or didn't answer.
        ValueError: it doesn't speak HTTP.
    """
    connection = _UnixConnection(socket, timeout, is_configured=is_configured)
    try:
        connection.request("GET", path, headers={"Host": "docker", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_BYTES + 1)
    except http.client.HTTPException as error:
        raise ValueError(error) from error
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, socket: Path, timeout: float, *, is_configured: bool) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path, self._seconds, self._is_configured = socket, timeout, is_configured

    def connect(self) -> None:
        self.sock = RuntimeConnection.to(self._path, self._seconds, is_configured=self._is_configured)
