"""Answers the node's DNS queries: a headless service's name leads to its pods.

    names.py ADDRESS KUBECTL

A cluster runs CoreDNS for this, whose image can't be had without a registry.
"""

import json
import socket
import struct
import subprocess
import sys

_A, _IN = 1, 1


def main() -> None:
    """Answer queries one after the other."""
    address, kubectl = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((address, 53))
        while True:
            query, client = listening.recvfrom(512)
            listening.sendto(answer(query, lambda name: addresses(kubectl, name)), client)


def answer(query: bytes, find) -> bytes:  # noqa: ANN001
    """Return the response to a query."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind, _ = struct.unpack_from(">HH", query, at + 1)
    found = find(labels)
    # Authoritative; an unknown name doesn't exist.
    flags = 0x8400 | (0 if found else 3)
    records = found if kind == _A else []
    head = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + query[12 : at + 5]
    return head + b"".join(struct.pack(">HHHIH", 0xC00C, _A, _IN, 1, 4) + socket.inet_aton(each) for each in records)


def addresses(kubectl: str, labels: list[str]) -> list[str]:
    """Return the addresses of a service's ready pods."""
    if labels[2:] != ["svc", "cluster", "local"]:
        return []
    command = [kubectl, "get", "endpoints", labels[0], "--namespace", labels[1], "--output", "json"]
    found = subprocess.run(command, capture_output=True, check=False).stdout
    subsets = json.loads(found or "{}").get("subsets") or []
    return [each["ip"] for subset in subsets for each in subset.get("addresses") or []]


if __name__ == "__main__":
    main()
