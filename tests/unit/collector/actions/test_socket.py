"""The socket between what passes intents on and `lanner actions serve`."""

from pathlib import Path

import pytest

from collector.actions import socket
from collector.actions.socket import ActionsClient, ActionServer, RecordPacket, TakenPacket, decode_packet
from schemas.action import ActionResult, encode_action_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path for a socket."""
    return tmp_path / "folder" / "s"


def received(server: ActionServer) -> "list[RecordPacket | TakenPacket]":
    """Accept connections and return what has arrived."""
    found = []
    for _ in range(3):
        for connection in server.wait(0.05):
            found += [decode_packet(data) for data in connection.packets()]
        server.drop_closed()
    return found


def result(intent: str) -> bytes:
    """Return an encoded result."""
    return encode_action_record(ActionResult(intent, "h", "web-3", "done", "frozen", 1))


def test_records_wait_until_somebody_listens_and_keep_their_age(path: Path) -> None:
    """The broker's time goes on while a record waits; after a new connection, all are sent again."""
    clock = [0]
    client = ActionsClient(path, clock=lambda: clock[0])
    client.send_intent(b"one", b"signature", 1000, 2000)
    client.send_decision(b"two", b"", 3, 0)
    assert (client.poll(), client.waiting, client.is_connected) == ([], 2, False)
    assert "is `lanner actions serve` running?" in client.last_error
    clock[0] = 60_000_000_000
    server = ActionServer(path, admits_group=False)
    client.poll()

    expected = [
        RecordPacket("intent", b"one", b"signature", 1000, 2000 + clock[0]),
        RecordPacket("decision", b"two", b"", 3, 0),
    ]
    assert received(server) == expected
    server.close()
    client.poll()
    assert not client.is_connected
    server = ActionServer(path, admits_group=False)
    clock[0] *= 2
    client.poll()
    assert [each.value for each in received(server) if isinstance(each, RecordPacket)] == [b"one", b"two"]
    client.close()
    server.close()


def test_the_receipt_of_results_is_confirmed_by_the_next_call(path: Path) -> None:
    """So the caller can store them first, and is ended in between without a loss."""
    server = ActionServer(path, admits_group=False)
    client = ActionsClient(path)
    client.poll()
    received(server)
    (connection,) = server.connections.values()
    for number in (7, 8):
        assert connection.send_result(number, result(f"i{number}"))
    connection.send_error("intent: not for this host")

    assert [each.intent for each in client.poll()] == ["i7", "i8"]
    assert (client.errors, client.last_error) == (1, "intent: not for this host")
    assert received(server) == []
    client.poll()
    assert received(server) == [TakenPacket((7, 8))]
    client.close()
    server.close()


def test_what_waits_is_bounded_and_what_was_dropped_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is dropped; a record that was sent and is forgotten doesn't count."""
    monkeypatch.setattr(socket, "MAX_QUEUED", 3)
    client = ActionsClient(path)
    for number in range(5):
        client.send_intent(str(number).encode(), b"", 1, 1)
    assert (client.waiting, client.dropped) == (3, 2)


def test_a_reader_that_does_not_read_holds_up_nobody(path: Path) -> None:
    """Sending fails instead, and the result is sent later."""
    server = ActionServer(path, admits_group=False)
    client = ActionsClient(path)
    client.poll()
    received(server)
    (connection,) = server.connections.values()
    number = 1
    while connection.send_result(number, result("i" * 1000)):
        number += 1
    assert connection.sent == number - 1
    assert len(client.poll()) > 1
    assert connection.send_result(number, result("i"))
    client.close()
    server.close()
