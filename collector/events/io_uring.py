"""Converts io_uring requests into the equivalent system calls.

A request is reported on submission and on completion, which may be hours later or, for one that accepts connections,
many times. Pure: records in, calls out.
"""

import errno
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace

from collector.events.system_calls import BY_EVENT, CALLS, NO_DESCRIPTOR, DescriptorFlag, packed_descriptor
from collector.records.types import File, Request, Syscall

OPERATIONS: Mapping[int, tuple[str, str]] = {
    9: ("sendmsg", "sendmsg"),
    10: ("recvmsg", "recvmsg"),
    13: ("accept", "accept4"),
    16: ("connect", "connect"),
    17: ("fallocate", "fallocate"),
    18: ("openat", "openat"),
    22: ("read", "read"),
    26: ("send", "sendto"),
    27: ("recvfrom", "recvfrom"),
    28: ("openat2", "openat2"),
    35: ("renameat", "renameat2"),
    36: ("unlinkat", "unlinkat"),
    37: ("mkdirat", "mkdirat"),
    38: ("symlinkat", "symlinkat"),
    39: ("linkat", "linkat"),
    41: ("fsetxattr", "fsetxattr"),
    42: ("setxattr", "setxattr"),
    45: ("socket", "socket"),
    47: ("send", "sendto"),
    48: ("sendmsg", "sendmsg"),
    54: ("dup", "dup"),
    55: ("ftruncate", "ftruncate"),
    56: ("bind", "bind"),
    57: ("listen", "listen"),
}
"""By operation (include/uapi/linux/io_uring.h), the equivalent call, and the one used if the operation needs an address
or flags that only that call has. What is received is reported only from name servers. An installed descriptor (54) is
one of a file that the ring had before."""

MAX_OPEN = 16384
"""Pending requests; beyond that, the oldest are lost and counted."""

_LIMIT = 64
_CONNECT = BY_EVENT["connect"].number
_INTERRUPTED = frozenset({-errno.EINTR, -errno.ECANCELED})
_NEW, _FAILED, _MULTISHOT = range(3)
"""What is known of a pending request: nothing; it may have failed, and was reported so; it may complete many times."""
_CLOSED = 7
"""As a TCP state: there is no connection."""
_WITHOUT_NAME = File(
    stat.S_IFREG, 0, 0, 0, None, is_pseudo=False, is_created=False, is_upper_layer=False, is_lower_layer=False
)


def uring_descriptors(events: Iterable[str]) -> dict[int, bytes]:
    """Return the kernel side's table by operation: what to report, and nothing for the rest."""
    sent = frozenset(events)
    return {
        operation + _LIMIT * index: packed_descriptor(name, sent) or NO_DESCRIPTOR
        for operation, names in OPERATIONS.items()
        for index, name in enumerate(names)
    }


class PendingRequests:
    """The requests that have not completed yet."""

    def __init__(self) -> None:
        self.lost = 0
        """Requests dropped because too many were pending; their results can't be reported."""
        self._open: dict[int, Request] = {}
        self._by_name: dict[tuple[int, int, int], dict[int, Request]] = {}
        self._reported: set[int] = set()

    def take(self, record: Request) -> tuple[Syscall, ...]:
        """Process a record; return the calls that the record completes: two if it sent data and thereby connected."""
        if not record.is_done:
            return self._begin(record)
        return self._finish(record) if record.address else self._finish_by_name(record)

    def _begin(self, request: Request) -> tuple[Syscall, ...]:
        # The kernel reuses the address, so the earlier request is done; its completion was not reported.
        self._forget(request.address)
        if request.is_untold:
            return _with_connection(request, _taken_for_done(request.call))
        if len(self._open) >= MAX_OPEN:
            oldest = next(iter(self._open))
            self.lost += oldest not in self._reported
            self._forget(oldest)
        self._open[request.address] = request
        self._index(request)
        return ()

    def _finish(self, done: Request) -> tuple[Syscall, ...]:
        request = self._open.get(done.address)
        was_reported = done.address in self._reported
        self._forget(done.address)
        return () if request is None or (request.is_multishot and was_reported) else _joined(request, done.call)

    def _finish_by_name(self, done: Request) -> tuple[Syscall, ...]:
        """Return the calls of all requests that a result may be of.

        A program can give one id to several requests, even unwatched ones, and a ring can be where an earlier one was:
        none may hide another. Each is returned at most twice, so that many with one id take no more work; of those that
        complete many times one, since what was accepted is the result's.
        """
        has_failed = done.call.result < 0
        ring, user_data = done.ring, done.user_data
        found = list(self._by_name.get((ring, user_data, _NEW), {}).values())
        if not has_failed:
            found += self._by_name.get((ring, user_data, _FAILED), {}).values()
        for request in found:
            if has_failed:
                # It stays: another one's failure must not hide its success.
                self._unindex(request)
                self._reported.add(request.address)
                self._index(request)
            else:
                self._forget(request.address)
        if several := self._by_name.get((ring, user_data, _MULTISHOT)):
            found.append(next(iter(several.values())))
            self._reported.add(found[-1].address)
        return tuple(call for request in found for call in _joined(request, done.call, is_exact=False))

    def _index(self, request: Request) -> None:
        self._by_name.setdefault(self._name(request), {})[request.address] = request

    def _unindex(self, request: Request) -> None:
        name = self._name(request)
        self._by_name[name].pop(request.address)
        if not self._by_name[name]:
            del self._by_name[name]

    def _name(self, request: Request) -> tuple[int, int, int]:
        known = _FAILED if request.address in self._reported else _NEW
        return request.ring, request.user_data, _MULTISHOT if request.is_multishot else known

    def _forget(self, address: int) -> None:
        request = self._open.pop(address, None)
        if request is not None:
            self._unindex(request)
            self._reported.discard(address)


def _joined(request: Request, done: Syscall, *, is_exact: bool = True) -> tuple[Syscall, ...]:
    """Return the calls of a request with its result. is_exact: whether the result is known to be this one's."""
    call = request.call
    is_file_new = bool(CALLS[call.event].flags & DescriptorFlag.FD_IS_RESULT)
    has_file = (done.file is not None or done.socket is not None) and (is_exact or is_file_new)
    fd = call.fd
    if is_file_new:
        fd = done.result if done.result >= 0 else None
    made = replace(
        call,
        who=replace(call.who, time=done.who.time),
        cpu=done.cpu,
        result=done.result,
        fd=fd,
        file=done.file if has_file else call.file,
        socket=done.socket if has_file else call.socket,
        is_io_uring=True,
    )
    return _with_connection(request, made)


def _with_connection(request: Request, made: Syscall) -> tuple[Syscall, ...]:
    """Add the connection that data was sent with; one that was interrupted goes on, as after the system call."""
    if made.event != _CONNECT and not request.connects:
        return (made,)
    result = min(made.result, 0)
    if result in _INTERRUPTED and made.socket is not None and made.socket.state != _CLOSED:
        result = -errno.EINPROGRESS
    connection = replace(made, event=_CONNECT, result=result, arguments=(made.arguments[0], 0, 0, 0, 0, 0), blob1=b"")
    return (made, connection) if request.connects else (connection,)


def _taken_for_done(call: Syscall) -> Syscall:
    """Assume success for a request that is reported only on failure: reporting too much is the safer error."""
    spec = CALLS[call.event]
    if spec.event.startswith("openat"):
        return replace(call, fd=0, file=_WITHOUT_NAME, is_io_uring=True)
    return replace(call, is_io_uring=True)
