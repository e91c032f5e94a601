import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.administration import create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, plan
from tests.cluster.broker import Broker
from tests.cluster.processes import Processes
from tests.cluster.secured import SecuredBroker


@pytest.fixture(scope="session", autouse=True)
def _java() -> None:
    """Skip where there is no Java; where CI is set, that is a failure."""
    if shutil.which("java") is None:
        assert not os.environ.get("CI"), "CI needs Java 17: deploy/setup/system.sh test installs it"
        pytest.skip("needs Java 17")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give a broker that all tests share: each has a prefix of its own, and none may stop it."""
    made = Broker(tmp_path_factory.mktemp("kafka"))
    made.start()
    yield made
    made.remove()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Give a broker that a test may stop and start."""
    made = Broker(tmp_path / "kafka")
    made.start()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Give the broker of deploy/kafka/secured.properties, which all tests share that need one."""
    made = SecuredBroker(tmp_path_factory.mktemp("secured"))
    made.start()
    made.populate()
    yield made
    made.remove()


def with_topics(broker: Broker, partitions: int) -> Connection:
    """Give a connection under a fresh prefix, with all topics."""
    connection = Connection(bootstrap_servers=broker.address, prefix=f"t{uuid.uuid4().hex[:8]}.")
    create_missing(connection, plan(connection.prefix, partitions, 1, DAY_MS))
    return connection


@pytest.fixture
def connection(broker: Broker) -> Connection:
    """Give the shared broker, eight partitions."""
    return with_topics(broker, 8)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Start the program; whatever is still there at the end is ended by its id."""
    made = Processes(tmp_path)
    yield made
    made.end()
