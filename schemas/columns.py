"""The columns of an event batch: names, element types and meanings.

A batch is columnar because decoding and evaluating rows in Python costs five times as much. The layout of a column
never changes; a new layout gets a new name.
"""

from enum import IntFlag

MISSING_INT = -(2**31)
""""No value" in the integer columns that have no natural empty value."""

STRING_COLUMNS = (
    "type",  # evt.type
    "fd_type",  # fd.type: file, directory, ipv4, ipv6, unix, fifo ...
    "fd_name",  # fd.name: the lexical name, or "ip:port->ip:port"
    "fd_name_raw",  # fd.nameraw: the argument as passed
    "fd_realpath",  # the kernel's own path of the opened file
    "local_ip",
    "remote_ip",
    "l4proto",  # tcp, udp, icmp, raw
    "sock_family",  # ip, unix
    "path_name",  # fs.path.name
    "path_name_raw",
    "path_source",
    "path_source_raw",
    "path_target",
    "path_target_raw",
    "buffer",  # evt.buffer, as text
)
"""Columns of indices (i32) into the batch's strings; index 0 means a missing value."""

NUMBER_COLUMNS = {
    "time": "q",  # ns since the epoch
    "process": "i",  # row in processes
    "thread": "i",  # thread.tid
    "vthread": "i",  # thread.vtid; MISSING_INT if unknown
    "cpu": "h",
    "res": "q",  # evt.rawres; for calls that return an address, the address
    "bits": "I",  # EventBit
    "repeats": "I",  # evt.count - 1: the number of further equal events of the process that this one represents
    "fd_num": "i",  # MISSING_INT if the event has no descriptor
    "fd_dev": "I",  # 0 if unknown
    "fd_ino": "Q",  # 0 if unknown
    "local_port": "i",  # -1 if there is none
    "remote_port": "i",
}
"""Columns of numbers, by their struct format character (little-endian)."""

ARGUMENT_COLUMNS = {
    "arg_start": "I",  # one more element than events: event i owns [arg_start[i], arg_start[i+1])
    "arg_name": "i",  # index into strings
    "arg_value": "i",  # index into strings: the value as evt.arg returns it
    "arg_raw": "q",  # the number, as evt.rawarg returns it; 0 if there is none
}
"""The arguments of all events of a batch, one after another."""

EVENT_COLUMNS = {**NUMBER_COLUMNS, **dict.fromkeys(STRING_COLUMNS, "i")}


class EventBit(IntFlag):
    """Boolean properties of an event, packed because most rules test at least one of them."""

    OPEN_READ = 1 << 0
    OPEN_WRITE = 1 << 1
    OPEN_EXEC = 1 << 2
    OPEN_CREATE = 1 << 3
    FAILED = 1 << 4
    HAS_ROLE = 1 << 5  # which side of the socket is the server is known
    IS_SERVER = 1 << 6  # the local side is the server
    CONNECTED = 1 << 7
    NAME_CHANGED = 1 << 8
    UPPER_LAYER = 1 << 9  # of an overlay file system
    LOWER_LAYER = 1 << 10
    IO_URING = 1 << 11
    COMPAT_32 = 1 << 12  # entered by the 32-bit gate
    PROCESS_STALE = 1 << 13  # the process exited before it could be read: its properties are missing
    HAS_RES = 1 << 14  # evt.res and evt.rawres have a value
    OPEN_SETUID = 1 << 15
