#!/usr/bin/python3 -IS
"""Asks a stage in this container whether it is well: exits with 0 where /healthz answers 200.

    lanner-healthy PORT

No shell does this, since one that writes to a socket is what a rule looks for; and no library, since it runs every few
seconds.
"""

import socket
import sys


def main() -> None:
    """Ask, print what was answered, and exit."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=4) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")
    sys.stdout.write(body.decode(errors="replace"))
    sys.exit(0 if head.split(b" ", 2)[1:2] == [b"200"] else 1)


main()
