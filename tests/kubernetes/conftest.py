"""Tests on a real cluster: `make test-kubernetes` sets LANNER_KUBERNETES; without it they aren't collected at all."""

import fcntl
import os
from collections.abc import Iterator

import pytest

from tests.kubernetes.images import images
from tests.kubernetes.node import Node
from tests.kubernetes.programs import NoKubernetes, programs
from tests.live.debian_image import cache_directory
from tests.live.needs import lacking

collect_ignore_glob = [] if os.environ.get("LANNER_KUBERNETES") else ["test_*.py"]


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Run a node with all images; the first start compiles Kubernetes, which takes minutes."""
    if os.geteuid() != 0:
        lacking("needs root")
    try:
        found = programs()
    except NoKubernetes as missing:
        lacking(str(missing))
    archives = images()
    # Two would use the same folders of this machine.
    with (cache_directory() / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Node(found) as running:
            running.load(archives)
            yield running
