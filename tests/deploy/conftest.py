"""Fixtures of the tests of installations."""

from tests.cluster.conftest import broker, connection, processes

__all__ = ["broker", "connection", "processes"]
