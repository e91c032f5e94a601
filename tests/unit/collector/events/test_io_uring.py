"""Requests and their results become calls."""

import stat
from dataclasses import replace

import pytest

from collector.events.io_uring import MAX_OPEN, OPERATIONS, PendingRequests, uring_descriptors
from collector.events.system_calls import BY_EVENT
from collector.records.types import File, ProcessIdentity, Request, Syscall
from tests.unit.collector.calls import sock

OPENED = File(
    stat.S_IFREG, 1, 2, 3, "/etc/shadow", is_pseudo=False, is_created=False, is_upper_layer=False, is_lower_layer=False
)


def call(event: str, *, time: int = 5, result: int = 0, file: File | None = None) -> Syscall:
    """Build the call part of a record."""
    return Syscall(
        who=ProcessIdentity(time, 10, 10, 1, 1, 1000, 7),
        event=BY_EVENT[event].number,
        cpu=0,
        vtid=10,
        is_compat=False,
        result=result,
        arguments=(0, 0, 0, 0, 0, 0),
        fd=None,
        file=file,
        socket=None,
        path1="/etc/shadow",
        path2=None,
        directory1=None,
        directory2=None,
        blob1=b"",
        blob2=b"",
    )


def request(event: str = "openat", *, address: int = 1, user_data: int = 0, untold: bool = False) -> Request:
    """Build the record of a submission."""
    return Request(call(event), address, 100, user_data, is_done=False, is_untold=untold, is_multishot=False)


def done(result: int, *, address: int = 1, user_data: int = 0, file: File | None = None) -> Request:
    """Build the record of a completion."""
    of = replace(call("open", time=9, result=result, file=file), who=ProcessIdentity(9, 2, 2, 0, 0, 0, 0), path1=None)
    return Request(of, address, 100, user_data, is_done=True, is_untold=False, is_multishot=False)


def test_a_result_completes_what_was_queried() -> None:
    """Process and arguments are the submission's, time and result the completion's."""
    requests = PendingRequests()

    assert requests.take(request()) == ()
    (made,) = requests.take(done(4, file=OPENED))

    assert made.is_io_uring
    assert (made.event, made.who.pid, made.who.uid, made.who.time) == (BY_EVENT["openat"].number, 10, 1000, 9)
    assert (made.result, made.fd, made.file, made.path1) == (4, 4, OPENED, "/etc/shadow")
    assert requests.take(done(4)) == ()


def test_a_failed_open_has_no_descriptor() -> None:
    """As if the call itself had failed."""
    requests = PendingRequests()
    requests.take(request())

    (made,) = requests.take(done(-2))

    assert (made.result, made.fd, made.file) == (-2, None, None)


def test_what_is_reported_only_on_failure_counts_as_done() -> None:
    """No other record would ever follow."""
    (made,) = PendingRequests().take(request(untold=True))

    assert (made.result, made.fd, made.path1) == (0, 0, "/etc/shadow")
    assert made.file is not None
    assert stat.S_ISREG(made.file.mode)


def test_a_result_without_address_is_found_by_the_program_s_name_for_it() -> None:
    """The kernel reports results this way if their queue is full."""
    requests = PendingRequests()
    requests.take(request(address=1, user_data=7))
    requests.take(request(address=2, user_data=8))

    (made,) = requests.take(done(3, address=0, user_data=8, file=OPENED))

    assert made.result == 3
    assert requests.take(done(3, address=0, user_data=8)) == ()
    assert requests.take(done(3, address=0, user_data=9)) == ()


def test_another_request_s_failure_does_not_hide_a_success() -> None:
    """A program may give two requests one id, one of them not watched."""
    requests = PendingRequests()
    requests.take(request(user_data=7))

    first = requests.take(done(-22, address=0, user_data=7))
    second = requests.take(done(4, address=0, user_data=7, file=OPENED))

    assert [made.result for made in (*first, *second)] == [-22, 4]


def test_requests_with_one_id_do_not_hide_each_other() -> None:
    """One of them may never complete, and its results look like the others'."""
    requests = PendingRequests()
    requests.take(request(address=1, user_data=7))
    requests.take(request("connect", address=2, user_data=7))

    made = requests.take(done(1, address=0, user_data=7, file=OPENED))

    opened, connection = made
    assert (opened.event, opened.file) == (BY_EVENT["openat"].number, OPENED)
    assert (connection.event, connection.file) == (BY_EVENT["connect"].number, None)


def test_a_failed_request_of_an_earlier_ring_is_not_taken_for_a_new_one() -> None:
    """The kernel may place a ring where one was whose requests have been reported by their ids."""
    requests = PendingRequests()
    requests.take(request("openat", address=1))
    requests.take(done(-115, address=0))
    requests.take(request("connect", address=2))

    made = requests.take(done(-115, address=0))

    assert [each.event for each in made] == [BY_EVENT["connect"].number]


def test_one_request_accepts_many_connections() -> None:
    """Its end is not a connection."""
    requests = PendingRequests()
    requests.take(replace(request("accept", user_data=7), is_multishot=True))

    results = [
        requests.take(done(5, address=0, user_data=7)),
        requests.take(done(6, address=0, user_data=7)),
        requests.take(done(-125, user_data=7)),
        requests.take(done(8, address=0, user_data=7)),
    ]

    assert [[made.result for made in each] for each in results] == [[5], [6], [], []]


@pytest.mark.parametrize(("result", "state", "expected"), [(5, 2, 0), (-4, 2, -115), (-125, 2, -115), (-125, 7, -125)])
def test_data_that_opens_a_connection_is_a_connection_too(result: int, state: int, expected: int) -> None:
    """It goes on if the request is interrupted or canceled, unless it never began."""
    requests = PendingRequests()
    requests.take(replace(request("sendto"), connects=True))
    ended = done(result)

    sent, connection = requests.take(replace(ended, call=replace(ended.call, socket=sock(state=state))))

    assert (sent.event, sent.result) == (BY_EVENT["sendto"].number, result)
    assert (connection.event, connection.result) == (BY_EVENT["connect"].number, expected)


def test_requests_that_are_never_done_are_bounded_and_counted() -> None:
    """Reuse of an address is not a loss of the kernel's: it was lost here, and counted."""
    requests = PendingRequests()
    for address in range(MAX_OPEN + 3):
        requests.take(request(address=address + 1, user_data=address % 5))
    requests.take(request(address=MAX_OPEN))

    assert requests.lost == 3
    assert requests.take(done(4, address=1)) == ()
    assert requests.take(done(4, address=MAX_OPEN))


def test_the_kernel_side_learns_of_every_operation() -> None:
    """Including those switched off, so that a change of rules is complete."""
    table = uring_descriptors(["openat", "accept4"])

    assert len(table) == 2 * len(OPERATIONS)
    assert {number for number, packed in table.items() if any(packed)} == {18, 18 + 64, 13 + 64}
