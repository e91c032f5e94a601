"""Finds answers of the Domain Name System in what programs receive."""

import socket

from collector.events.system_calls import CALLS, DescriptorFlag
from collector.events.texts import socket_address
from collector.records.dns import DnsAnswer, parse
from collector.records.types import Syscall

PORT = 53
"""The port of name servers."""
_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


def answer_in(call: Syscall) -> DnsAnswer | None:
    """Return the answer that a call received from a name server; None if it received none.

    Raises:
        ValueError: it received something else from a name server, or too little of an answer.
    """
    sock = call.socket
    if sock is None or call.result <= 0 or not CALLS[call.event].flags & DescriptorFlag.ANSWERS:
        return None
    server = (sock.remote_ip, sock.remote_port) if sock.remote_port else socket_address(call.blob2)
    if server is None or server[1] != PORT or sock.family not in _INTERNET or not call.blob1:
        return None
    return parse(call.blob1, is_stream=sock.type == socket.SOCK_STREAM)
