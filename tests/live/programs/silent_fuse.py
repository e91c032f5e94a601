"""A FUSE server that stops answering, with a process that depends on it; run as a plain user by `unshare -Urm`.

    silent_fuse.py overlay|memory FOLDER SECONDS

FOLDER holds `device` (a node of /dev/fuse that anybody may open) and empty folders `lower`, `empty` and `merged`.
overlay: the process runs a program of an overlay above the file system, so that its attributes wait for the server.
memory: the process maps a file of it, so that whoever reads its command line waits for the server.
Prints the pid of the process once the server is silent, and ends after SECONDS.
"""

import ctypes
import os
import struct
import sys
import threading
import time
from pathlib import Path

LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 14, 15, 16, 17, 18
FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 25, 26, 27, 29, 36, 42
ROOT, FILE = 1, 2
NO_ANSWER = {FORGET, BATCH_FORGET, INTERRUPT}
ENOENT, ENOSYS = -2, -38
DIRECT_IO, PARALLEL_DIRECT_WRITES = 1 << 0, 1 << 6
PARALLEL_DIROPS_AND_MORE, INIT_EXT, DIRECT_IO_ALLOW_MMAP = 1 << 18, 1 << 30, 1 << 4
MS_NOSUID, MS_NODEV = 2, 4
SIZE = 1 << 16

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class Server:
    """Serves one file called `file`, until it is made silent."""

    def __init__(self, device: int, content: bytes, open_flags: int) -> None:
        self.device = device
        self.content = content
        self.open_flags = open_flags
        self.is_silent = False
        self.requests: list[int] = []

    def serve(self) -> None:
        """Answer requests permanently."""
        while True:
            request = os.read(self.device, 1 << 20)
            length, operation, unique, node = struct.unpack_from("<IIQQ", request)
            self.requests.append(operation)
            if operation in NO_ANSWER or (self.is_silent and operation != WRITE) or operation == WRITE:
                continue
            answer = self.answer(operation, node, request[40:length])
            error, body = (answer, b"") if isinstance(answer, int) else (0, answer)
            os.write(self.device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)

    def answer(self, operation: int, node: int, body: bytes) -> bytes | int:
        """Return the answer to one request, or an error."""
        if operation == INIT:
            flags = INIT_EXT | PARALLEL_DIROPS_AND_MORE
            head = struct.pack("<IIIIHHIIHHI", 7, 38, 1 << 16, flags, 10, 8, 1 << 17, 1, 32, 0, DIRECT_IO_ALLOW_MMAP)
            return head + bytes(28)
        if operation == LOOKUP:
            known = struct.pack("<QQQQII", FILE, 0, 0, 0, 0, 0) + self.attributes(FILE)
            return known if body.rstrip(b"\0") == b"file" else ENOENT
        if operation == GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self.attributes(node)
        if operation in {OPEN, OPENDIR}:
            return struct.pack("<QII", 1, self.open_flags if operation == OPEN else 0, 0)
        if operation == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self.content[offset : offset + size]
        if operation == STATFS:
            return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        return b"" if operation in {RELEASE, RELEASEDIR, FLUSH} else ENOSYS

    def attributes(self, node: int) -> bytes:
        """Return a file's attributes as struct fuse_attr."""
        mode, size = (0o40755, 0) if node == ROOT else (0o100777, len(self.content))
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def mount(source: str, target: Path, kind: str, options: str) -> None:
    """Mount, or end with the reason."""
    if libc.mount(source.encode(), bytes(target), kind.encode(), MS_NOSUID | MS_NODEV, options.encode()):
        sys.exit(f"mount {kind}: {os.strerror(ctypes.get_errno())}")


def run_from_overlay(folder: Path, server: Server) -> int:
    """Start a program whose file is below the overlay; returns its pid."""
    mount("overlay", folder / "merged", "overlay", f"lowerdir={folder}/lower:{folder}/empty,userxattr")
    child = os.fork()
    if child == 0:
        os.close(server.device)
        os.execv(folder / "merged" / "file", ["sleep", "1000"])  # noqa: S606 - becoming it is the action
    while Path(f"/proc/{child}/exe").readlink() == Path("/proc/self/exe").readlink():
        time.sleep(0.05)
    time.sleep(0.5)
    server.is_silent = True
    return child


def hold_memory(folder: Path, server: Server) -> int:
    """Start a process that maps a file which waits for a write; returns its pid."""
    child = os.fork()
    if child == 0:
        os.close(server.device)  # or the file system would never end
        file = os.open(folder / "lower" / "file", os.O_RDWR)
        threading.Thread(target=os.pwrite, args=(file, b"x" * 4096, 0), daemon=True).start()
        time.sleep(0.5)
        libc.mmap(None, 4096, 1, 1, file, 0)
        os._exit(0)
    while WRITE not in server.requests:
        time.sleep(0.05)
    time.sleep(1)
    server.is_silent = True
    return child


def main() -> None:
    """Mount and serve as the arguments specify."""
    mode, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    device = os.open(folder / "device", os.O_RDWR)
    is_overlay = mode == "overlay"
    content = Path("/bin/sleep").read_bytes() if is_overlay else bytes(SIZE)
    server = Server(device, content, 0 if is_overlay else DIRECT_IO | PARALLEL_DIRECT_WRITES)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    mount("silent", folder / "lower", "fuse", options)
    threading.Thread(target=server.serve, daemon=True).start()
    print((run_from_overlay if is_overlay else hold_memory)(folder, server), flush=True)
    time.sleep(seconds)
    os._exit(0)


main()
