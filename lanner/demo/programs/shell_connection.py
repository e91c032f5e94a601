"""Make bash connect to an address of this machine, so that no packet leaves it."""

import socket
import subprocess
import sys


def own_address() -> str | None:
    """Return the address that this machine would send from; sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation, RFC 5737
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def main() -> int:
    """Listen on this machine's address and make a shell connect to it; return 3 without such an address."""
    address = own_address()
    if address is None:
        return 3
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        subprocess.run(["/usr/bin/env", "bash", "-c", f": > /dev/tcp/{address}/{port}"], check=False, timeout=10)
    return 0


if __name__ == "__main__":
    sys.exit(main())
