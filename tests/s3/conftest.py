"""Tests on a real S3 server: `make test-s3` builds one; without its path they aren't collected at all."""

import os

from tests.cluster.conftest import broker, connection, processes

__all__ = ["broker", "connection", "processes"]
collect_ignore_glob = [] if os.environ.get("LANNER_VERSITYGW") else ["test_*.py"]
