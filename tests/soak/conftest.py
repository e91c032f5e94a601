"""Long tests: `make soak` sets LANNER_SOAK; without it they aren't collected at all."""

import os

from tests.live.conftest import docker, programs

__all__ = ["docker", "programs"]

collect_ignore_glob = [] if os.environ.get("LANNER_SOAK") else ["test_*.py"]
