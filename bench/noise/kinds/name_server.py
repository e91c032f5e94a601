"""Answers questions about names, and requests by HTTP, as the servers of a company do; run by names.sh.

Source: RFC 1035.
"""

import socket
import ssl
import struct
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

_ADDRESSES = {
    f"{name}.example.com": number for number, name in enumerate(("www", "api", "deb", "git", "packages", "modules"), 1)
}
_A, _NO_NAME = 1, 3
_TTL = 60


def answer(question: bytes) -> bytes:
    """Return the response to a question: an address of a known name, nothing of another type, or that there is none."""
    at, labels = 12, []
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    (kind,) = struct.unpack_from(">H", question, at + 1)
    host = _ADDRESSES.get(".".join(labels), 0)
    address = bytes((198, 51, 100, host)) if host and kind == _A else b""
    head = question[:2] + struct.pack(">HHHHH", 0x8180 | (0 if host else _NO_NAME), 1, bool(address), 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, _A, 1, _TTL, len(address)) + address if address else b""
    return head + question[12 : at + 5] + record


def main(folder: str, certificate: str) -> None:
    """Serve until killed: names on the loopback address, a folder's files by HTTP and HTTPS on all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for port in (80, 443):
        server = ThreadingHTTPServer(("", port), partial(SimpleHTTPRequestHandler, directory=folder))
        if port == 443:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.1", 53))
        while True:
            question, client = names.recvfrom(512)
            names.sendto(answer(question), client)


if __name__ == "__main__":
    main(*sys.argv[1:])
