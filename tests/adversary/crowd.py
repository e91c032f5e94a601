"""A process that holds connections of one user, and opens new ones for those that the server closes.

Arguments: port, number of connections, user id, and the bytes that each connection sends first, in hexadecimal.
"""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def crowd(port: int, count: int, sent: bytes, user: int = 0) -> Iterator[None]:
    """Run one; it holds all of its connections when this yields.

    Args:
        port: of the server, on loopback.
        count: the number of connections.
        sent: what each connection sends first.
        user: whose connections they are.
    """
    arguments = [sys.executable, "-m", __spec__.name, str(port), str(count), str(user), sent.hex()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"full\n"
            yield
        finally:
            process.kill()


def _opened(port: int, sent: bytes) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(5)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    with suppress(OSError):
        made.send(sent)
    return made


def _is_open(each: socket.socket) -> bool:
    try:
        # It only looks, so that answers stay unread.
        return each.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _hold(port: int, count: int, sent: bytes) -> None:
    held = list[socket.socket]()
    is_full = False
    while True:
        for each in [each for each in held if not _is_open(each)]:
            held.remove(each)
            each.close()
        while len(held) < count:
            with suppress(OSError):
                held.append(_opened(port, sent))
        if not is_full:
            is_full = True
            sys.stdout.write("full\n")
            sys.stdout.flush()
        time.sleep(0.05)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048))
    os.setuid(int(sys.argv[3]))
    _hold(int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[4]))
