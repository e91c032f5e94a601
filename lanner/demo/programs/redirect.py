"""Make standard input a network connection to ourselves, as a reverse shell does, and end."""

import os
import socket


def main() -> None:
    """Connect over the loopback interface and put the connection in the place of standard input."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        os.dup2(client.fileno(), 0)


if __name__ == "__main__":
    main()
