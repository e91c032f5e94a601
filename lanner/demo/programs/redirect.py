"""Make standard input a network connection to this process, as a reverse shell does, and exit."""

import os
import socket


def main() -> None:
    """Connect over the loopback interface and replace standard input with the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        os.dup2(client.fileno(), 0)


if __name__ == "__main__":
    main()
