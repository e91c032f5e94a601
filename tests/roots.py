"""Folders that only root can change, unlike pytest's: in such a collector believes what runtimes write."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOTS = Path("/var/lib")


@contextmanager
def roots_folder() -> Iterator[Path]:
    """Yield a folder of root's, with a short path because it may hold sockets."""
    with tempfile.TemporaryDirectory(prefix="lt-", dir=ROOTS) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
