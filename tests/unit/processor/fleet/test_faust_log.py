import logging

from processor.fleet.worker import FaustLog
from tests.notes import into


def entry(text: str, *arguments: object) -> logging.LogRecord:
    """Return an entry as Faust's Kafka client writes it."""
    return logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, arguments, None)


def test_what_is_logged_again_and_again_is_reported_once_a_minute() -> None:
    """What was left out is counted; what differs in its values alone is the same, what differs in words is not."""
    reported: list[str] = []
    now = 0.0
    log = FaustLog(into(reported), logging.ERROR, clock=lambda: now)
    for number in range(200):
        log.emit(entry("Unable connect to node with id %s", number))
    log.emit(entry("Unable to update metadata"))
    now = 61.0
    log.emit(entry("Unable connect to node with id %s", 7))
    assert reported == [
        "error: aiokafka: Unable connect to node with id 0",
        "error: aiokafka: Unable to update metadata",
        "error: aiokafka: Unable connect to node with id 7 (199 more like it since the last)",
    ]


def test_a_refusal_names_the_settings() -> None:
    """Faust's client knows them by other names, or not at all."""
    reported: list[str] = []
    FaustLog(into(reported), logging.ERROR).emit(entry("Unable connect: [Error 58] SaslAuthenticationFailed: no\nway"))
    (line,) = reported
    assert line.startswith("error: aiokafka: Unable connect: [Error 58] SaslAuthenticationFailed: no way: check kafka.")
