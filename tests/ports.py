"""Ports on loopback for servers that a test starts."""

import random
import socket
from contextlib import ExitStack, suppress


def free_ports(count: int, kind: int = socket.SOCK_STREAM) -> list[int]:
    """Return free ports; all are bound until the last is found, so that they differ.

    They are below those that the kernel gives to clients, any of which could take one before its server starts.
    """
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            each = stack.enter_context(socket.socket(socket.AF_INET, kind))
            with suppress(OSError):
                each.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
                ports.append(each.getsockname()[1])
    return ports


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """Return one free port."""
    return free_ports(1, kind)[0]
