"""Rewrites the assertions of all tests as pytest does, once: `python -m tests.assertions`.

In a new checkout, each of many workers would do this for all of its files at the same time as the others. pytest has no
public function for it. If a version has other internal ones, this fails, and the workers do it, as ever.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _pytest.assertion import AssertionState
from _pytest.assertion.rewrite import PYC_TAIL, _rewrite_test, _write_pyc, get_cache_dir
from _pytest.config import get_config


def rewrite(files: list[Path]) -> None:
    """Write the compiled file that pytest reads for each file that has none yet, or an older one."""
    config = get_config()
    state = AssertionState(config, "rewrite")
    for file in files:
        cached = get_cache_dir(file) / f"{file.stem}{PYC_TAIL}"
        if not cached.exists() or cached.stat().st_mtime < file.stat().st_mtime:
            status, code = _rewrite_test(file, config)
            cached.parent.mkdir(exist_ok=True)
            _write_pyc(state, code, status, cached)


if __name__ == "__main__":
    cores = os.cpu_count() or 1
    folder = Path(__file__).parent
    found = [*folder.rglob("test_*.py"), *folder.rglob("conftest.py")]
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(rewrite, [found[core::cores] for core in range(cores)]))
