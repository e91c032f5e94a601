import subprocess
import sys

import pytest

ACT = """
import ctypes, sys, time
from lanner.process.memory import keep_memory_small, return_free_memory
if sys.argv[1] == "small":
    keep_memory_small()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
libc.free(libc.malloc(4 << 20))
pieces = []
for _ in range(64):
    pieces.append(libc.malloc(1 << 20))
    ctypes.memset(pieces[-1], 1, 1 << 20)
    libc.malloc(4096)
for piece in pieces:
    libc.free(piece)
if sys.argv[1] == "regularly":
    return_free_memory(0.1)
    time.sleep(1)
print(int(open("/proc/self/statm").read().split()[1]) * 4 // 1024)
"""


@pytest.mark.parametrize(("variant", "is_given_back"), [("small", True), ("regularly", True), ("as ever", False)])
def test_large_pieces_are_given_back_though_small_ones_lie_between(variant: str, *, is_given_back: bool) -> None:
    """Otherwise the 64 MiB of a flood would stay resident permanently."""
    done = subprocess.run([sys.executable, "-c", ACT, variant], capture_output=True, text=True, check=True, timeout=30)

    assert (int(done.stdout) < 60) is is_given_back


def test_cyclic_garbage_is_still_collected() -> None:
    """A search that comes less often must still come, first when the start is over."""
    act = (
        "import gc, time, weakref\n"
        "from lanner.process.memory import collect_cycles_rarely, return_free_memory\n"
        "collect_cycles_rarely(); return_free_memory(0.5)\n"
        "class Node: pass\n"
        "def gone(): node = Node(); node.itself = node; return weakref.ref(node)\n"
        "first = gone(); kept = [[] for _ in range(30000)]; print(first() is None)\n"
        "while first(): time.sleep(0.05)\n"
        "second = gone(); kept = [[] for _ in range(1000)]; before = second() is None\n"
        "kept = [[] for _ in range(30000)]; print(before, second() is None)\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False\nFalse True\n"


def test_digests_need_no_openssl_until_something_else_does() -> None:
    """Its library takes 3.4 MiB; the digests are the same, and what needs it can import it later."""
    act = (
        "import sys\n"
        "from lanner.process.memory import hash_without_openssl\n"
        "hash_without_openssl()\n"
        "import hashlib, hmac, secrets, random, uuid, tempfile\n"
        "own = [hashlib.sha256(b'x').digest(), hmac.digest(b'k', b'm', 'sha256'), hashlib.new('md5', b'x').digest()]\n"
        "print('libcrypto' in open('/proc/self/maps').read())\n"
        "import _hashlib\n"
        "other = [_hashlib.openssl_sha256(b'x').digest(), _hashlib.hmac_digest(b'k', b'm', 'sha256')]\n"
        "print(own == [*other, _hashlib.openssl_md5(b'x').digest()])\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False\nTrue\n"


def test_avro_is_read_and_written_without_the_library_of_snappy() -> None:
    """It takes 1.5 MiB; what needs it can import it later."""
    act = (
        "import io, sys\n"
        "from lanner.process.memory import avro_without_snappy\n"
        "avro_without_snappy()\n"
        "import fastavro\n"
        "file, schema = io.BytesIO(), {'type': 'record', 'name': 'r', 'fields': [{'name': 'a', 'type': 'int'}]}\n"
        "fastavro.writer(file, schema, [{'a': 1}], codec='deflate')\n"
        "file.seek(0)\n"
        "print('cramjam' in sys.modules, list(fastavro.reader(file)))\n"
        "import cramjam\n"
    )
    done = subprocess.run([sys.executable, "-c", act], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout == "False [{'a': 1}]\n"
