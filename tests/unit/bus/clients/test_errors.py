import math

import pytest
from aiokafka import errors as theirs
from confluent_kafka import KafkaError

from bus.clients.errors import FATAL, name_of, patience_with, unavailable
from bus.connection import Connection

COMING_BACK = (
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.UNKNOWN,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._WAIT_COORD,
    KafkaError._FATAL,
)


@pytest.mark.parametrize("code", COMING_BACK)
def test_what_a_broker_that_comes_back_answers_is_waited_out(code: int) -> None:
    """Every other error is retried, whatever the protocol calls it."""
    assert patience_with(KafkaError(code)) == math.inf
    assert unavailable(Connection(), KafkaError(code)).patience == math.inf


def test_both_clients_are_evaluated_by_one_list() -> None:
    """Errors of Faust's client are found by their number or name."""
    for error in (theirs.TopicAuthorizationFailedError("events"), KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)):
        assert name_of(error) == "TOPIC_AUTHORIZATION_FAILED"
        assert patience_with(error) == 0
    for error in (theirs.UnknownTopicOrPartitionError(), KafkaError(KafkaError._UNKNOWN_PARTITION)):
        assert 0 < patience_with(error) < math.inf
    for error in (theirs.NotCoordinatorForGroupError(), theirs.KafkaConnectionError(), theirs.UnknownError()):
        assert patience_with(error) == math.inf


def test_every_name_in_the_list_is_one_that_a_client_uses() -> None:
    """Every listed name exists; a misspelled one would be retried permanently."""
    names = {KafkaError(code).name() for code in range(-200, 150)}
    assert not [name for name in FATAL if name not in names and not hasattr(theirs, name)]
    assert all(each.why for each in FATAL.values())
