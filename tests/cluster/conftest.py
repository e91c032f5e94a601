import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from bus.administration import create_missing
from bus.connection import Connection
from bus.topics import DAY_MS, plan
from tests.cluster.broker import Broker
from tests.cluster.processes import Processes
from tests.cluster.secured import SecuredBroker

PARTITIONS = 4
"""The partitions of a test's topics: to create and delete twice as many takes a broker twice as long."""


@pytest.fixture(scope="session", autouse=True)
def _java() -> None:
    """Skip without Java; fail in CI."""
    if shutil.which("java") is None:
        assert not os.environ.get("CI"), "CI needs Java 17: deploy/setup/system.sh test installs it"
        pytest.skip("needs Java 17")


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Provide a shared broker: each test has its own prefix, and none may stop it.

    It ends with the folder: ten idle brokers would use a quarter of a core beside all tests that follow.
    """
    made = Broker(tmp_path_factory.mktemp("kafka"))
    made.start()
    yield made
    made.remove()


@pytest.fixture(scope="package")
def stoppable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Provide a second shared broker."""
    made = Broker(tmp_path_factory.mktemp("kafka"))
    yield made
    made.remove()


@pytest.fixture
def own_broker(stoppable: Broker) -> Broker:
    """Provide a running broker that the test may stop, start and suspend, and leave so."""
    stoppable.ensure()
    return stoppable


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """Provide the shared broker with deploy/kafka/secured.properties."""
    made = SecuredBroker(tmp_path_factory.mktemp("secured"))
    made.start()
    made.populate()
    yield made
    made.remove()


def with_topics(broker: Broker, partitions: int) -> Connection:
    """Return a connection with a new prefix, with all topics created."""
    connection = Connection(bootstrap_servers=broker.address, prefix=f"t{uuid.uuid4().hex[:8]}.")
    create_missing(connection, plan(connection.prefix, partitions, 1, DAY_MS))
    return connection


@pytest.fixture
def connection(broker: Broker, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Provide a connection to the shared broker, with all topics, of as many partitions as the test's module states.

    The topics end with the test: at 6,000 partitions a broker does nothing but collect garbage.
    """
    partitions = getattr(request.module, "PARTITIONS", PARTITIONS)
    made = with_topics(broker, partitions)
    yield made
    client = AdminClient({"bootstrap.servers": made.bootstrap_servers})
    for deleted in client.delete_topics([topic.name for topic in plan(made.prefix, partitions, 1, DAY_MS)]).values():
        # One that the test has deleted itself is unknown.
        deleted.exception(30)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Provide a starter of commands; processes that still run at the end are killed."""
    made = Processes(tmp_path)
    yield made
    made.end()
