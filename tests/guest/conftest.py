"""Tests in a virtual machine: `make test-guest` sets LANNER_GUEST; without it they aren't collected at all."""

import os

collect_ignore_glob = [] if os.environ.get("LANNER_GUEST") else ["test_*.py"]
