"""Operations of io_uring without a system call are reported as the equivalent call, however they are requested."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.events.io_uring import OPERATIONS
from schemas.catalog.system_calls import ANSWERED
from tests.live.collector.watching import Event, Watching, watching
from tests.live.compiled import Programs
from tests.live.needs import io_uring

EVENTS = {name for names in OPERATIONS.values() for name in names} - {*ANSWERED} | {"io_uring_setup"}
VARIANTS = ("plain", "polled", "worker", "linked", "drained", "overflow")
NOBODY = 65534


@pytest.fixture(scope="module")
def watch() -> Iterator[Watching]:
    """Watch the calls that io_uring replaces."""
    with watching(*EVENTS) as running:
        yield running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the program that performs the actions."""
    io_uring()
    return Programs(tmp_path_factory.mktemp("programs"))("io_uring_acts", static=True)


class Actions:
    """Runs the program in a directory of its own."""

    def __init__(self, watch: Watching, program: str, directory: Path) -> None:
        """Take what is watched and where to act."""
        self._watch, self._program, self.directory = watch, program, directory

    def __call__(self, *arguments: str) -> tuple[list[int], list[Event]]:
        """Run an action; return the numbers printed and the io_uring events."""
        before = len(self._watch.batches)
        out = self._watch.run(self._program, *arguments, cwd=self.directory).stdout
        fresh = [
            event
            for batch in self._watch.batches[before:]
            for event in (Event(batch, index) for index in range(batch.count))
            if event["proc.exepath"] == self._program
        ]
        assert [event["evt.type"] for event in fresh if not event["evt.io_uring"]].count("io_uring_setup") == 1
        return [int(number) for number in out.split()], [event for event in fresh if event["evt.io_uring"]]

    def one(self, *arguments: str) -> tuple[int, Event]:
        """Run one action; return the result as the program saw it, and the event."""
        numbers, events = self(*arguments)
        assert len(events) == 1, [event["evt.type"] for event in events]
        return numbers[0], events[0]


@pytest.fixture
def actions(watch: Watching, program: str, tmp_path: Path) -> Actions:
    """Run actions in the test's own directory."""
    return Actions(watch, program, tmp_path)


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_open_is_reported_in_whatever_way_it_is_carried_out(actions: Actions, variant: str) -> None:
    """By the submitter, by a kernel thread, after other requests, or with a full completion queue."""
    (actions.directory / "file").write_text("")

    result, event = actions.one(variant, "open", "file")

    assert event["evt.type"] == "openat"
    assert (event["evt.rawres"], event["fd.num"]) == (result, result)
    assert event["fd.name"] == event["fd.realpath"] == str(actions.directory / "file")
    assert event["fd.typechar"] == "f"
    assert event["evt.is_open_read"] is True
    assert event["evt.arg.flags"] == "O_RDONLY"
    assert (event["user.uid"], event["proc.name"]) == (0, event["proc.exepath"].rsplit("/", 1)[1][:15])
    assert event["fd.ino"] == (actions.directory / "file").stat().st_ino


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_open_that_fails_is_marked(actions: Actions, variant: str) -> None:
    """The name is there, and no descriptor."""
    result, event = actions.one(variant, "open", "/nowhere/at all")

    assert (event["evt.rawres"], event["evt.failed"], event["fd.num"]) == (result, True, None)
    assert event["fd.name"] == "/nowhere/at all"


def test_an_open_that_nobody_is_notified_of_counts_as_done(actions: Actions) -> None:
    """The kernel only reports it on failure, so the file's own path is not known."""
    _, event = actions.one("untold", "open", "/etc/hostname")

    assert (event["evt.type"], event["fd.name"], event["fd.num"]) == ("openat", "/etc/hostname", 0)
    assert event["evt.is_open_read"] is True
    assert event["fd.realpath"] is None


def test_a_link_does_not_hide_the_file(actions: Actions) -> None:
    """The kernel's own path is beside the requested one."""
    (actions.directory / "link").symlink_to("/etc/hostname")

    _, event = actions.one("plain", "open", "link")

    assert (event["fd.name"], event["fd.realpath"]) == (str(actions.directory / "link"), "/etc/hostname")


def test_a_file_without_descriptor_is_reported(actions: Actions) -> None:
    """The ring stores it in a table of its own."""
    result, event = actions.one("plain", "open-direct", "/etc/hostname")

    assert (result, event["fd.num"], event["fd.name"], event["fd.realpath"]) == (
        *(0, 0),
        *("/etc/hostname", "/etc/hostname"),
    )


def test_a_created_file_is_reported_as_such(actions: Actions) -> None:
    """With mode and flags, and the name joined with its directory."""
    _, event = actions.one("plain", "create", "./new")

    assert event["fd.name"] == str(actions.directory / "new")
    assert set(event["evt.arg.flags"].split("|")) == {"O_CREAT", "O_WRONLY", "O_TRUNC", "O_F_CREATED"}
    assert event["evt.arg.mode"] == "0640"
    assert event["evt.is_open_write"] is True


def test_openat2_is_reported_with_the_flags_that_the_kernel_took(actions: Actions) -> None:
    """They are the kernel's copy, not the program's memory."""
    _, event = actions.one("plain", "open2", "/etc/hostname")

    assert (event["evt.type"], event["fd.name"]) == ("openat2", "/etc/hostname")
    assert event["evt.arg.resolve"] == "RESOLVE_NO_MAGICLINKS"
    assert event["evt.arg.flags"] == "O_RDONLY"


@pytest.mark.parametrize(("act", "event_type"), [("rename", "renameat"), ("link", "linkat"), ("symlink", "symlinkat")])
@pytest.mark.parametrize("variant", ["plain", "polled"])
def test_calls_with_two_paths(actions: Actions, act: str, event_type: str, variant: str) -> None:
    """Source and target are absolute; a symlink's text stays as given."""
    (actions.directory / "from").write_text("")

    result, event = actions.one(variant, act, "from", "to")

    assert (event["evt.type"], event["evt.rawres"], result) == (event_type, 0, 0)
    assert event["fs.path.target"] == str(actions.directory / "to")
    if act == "symlink":
        assert event["evt.arg.target"] == "from"
    else:
        assert event["fs.path.source"] == str(actions.directory / "from")


@pytest.mark.parametrize("variant", ["plain", "polled"])
def test_an_exchange_is_reported_for_both_files(actions: Actions, variant: str) -> None:
    """Each gets the other's path."""
    first, second = actions.directory / "from", actions.directory / "to"
    first.write_text("")
    second.write_text("")

    _, events = actions(variant, "exchange", "from", "to")

    assert [(event["evt.type"], event["evt.arg.flags"]) for event in events] == [("renameat2", "RENAME_EXCHANGE")] * 2
    paths = [(event["fs.path.source"], event["fs.path.target"]) for event in events]
    assert paths == [(str(first), str(second)), (str(second), str(first))]


@pytest.mark.parametrize("variant", ["plain", "polled"])
def test_calls_with_one_path(actions: Actions, variant: str) -> None:
    """A directory created and a file removed."""
    (actions.directory / "file").write_text("")

    _, made = actions.one(variant, "mkdir", "directory")
    _, removed = actions.one(variant, "unlink", "file")

    assert (made["evt.type"], made["evt.rawres"]) == ("mkdirat", 0)
    assert (made["fs.path.name"], made["evt.rawarg.mode"]) == (str(actions.directory / "directory"), f"{0o750:X}")
    assert (removed["evt.type"], removed["evt.rawres"]) == ("unlinkat", 0)
    assert removed["fs.path.name"] == str(actions.directory / "file")


@pytest.mark.parametrize(
    ("act", "event_type", "expected"),
    [
        ("truncate", "ftruncate", {"evt.arg.length": "3"}),
        ("allocate", "fallocate", {"evt.arg.mode": "FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE"}),
        ("attribute-file", "fsetxattr", {"evt.arg.name": "user.x"}),
        ("attribute", "setxattr", {"evt.arg.name": "user.x"}),
        ("install", "dup", {}),
    ],
)
@pytest.mark.parametrize("variant", ["plain", "polled", "worker"])
def test_changes_of_a_file(actions: Actions, variant: str, act: str, event_type: str, expected: dict[str, str]) -> None:
    """By its descriptor or its path; a descriptor of a file that the ring had is a duplicate."""
    path = actions.directory / "file"
    path.write_text("data")

    result, event = actions.one(variant, act, str(path))

    assert (event["evt.type"], event["evt.rawres"]) == (event_type, result)
    assert event["fs.path.name" if act == "attribute" else "fd.name"] == str(path)
    assert {name: event[name] for name in expected} == expected


@pytest.mark.parametrize("act", ["tcp", "direct-tcp"])
@pytest.mark.parametrize("variant", ["plain", "polled", "worker"])
def test_a_connection_is_reported_by_both_sides(actions: Actions, variant: str, act: str) -> None:
    """Socket, bind, listen, connect, accept, send and sendmsg, also with the sockets in the ring's own table."""
    (server, client, connected, accepted, sent, by_message), events = actions(variant, act)

    found = {event["evt.type"]: event for event in events}
    assert list(found) == ["socket", "bind", "listen", "connect", "accept", "send", "sendmsg"]
    results = [found[name]["evt.rawres"] for name in ("connect", "accept", "send", "sendmsg")]
    assert results == [connected, accepted, sent, by_message]
    for name in ("connect", "accept"):
        event = found[name]
        assert (event["fd.cip"], event["fd.cport"]) == ("127.0.0.1", client)
        assert (event["fd.sip"], event["fd.sport"]) == ("127.0.0.1", server)
        assert event["fd.l4proto"] == "tcp"
    assert found["connect"]["evt.arg.addr"] == f"127.0.0.1:{server}"
    assert (found["bind"]["fd.sport"], found["listen"]["fd.sport"]) == (server, server)
    assert found["socket"]["evt.arg.domain"] == "AF_INET"
    assert (found["send"]["evt.arg.data"], found["sendmsg"]["evt.arg.data"]) == ("by send", "by message")


def test_each_connection_of_a_request_that_accepts_many_is_reported(actions: Actions) -> None:
    """One request, two connections, two events."""
    (server, client), events = actions("plain", "multishot")

    accepted = [event for event in events if event["evt.type"] == "accept"]
    assert len(accepted) == 2
    assert {event["fd.sport"] for event in accepted} == {server}
    assert accepted[0]["fd.cport"] == client
    assert accepted[0]["evt.rawres"] != accepted[1]["evt.rawres"]


def test_a_datagram_with_an_address_is_reported_as_sendto(actions: Actions) -> None:
    """The address is the kernel's copy."""
    (sent, port), events = actions("plain", "udp")

    (event,) = events
    assert (event["evt.type"], event["evt.rawres"], event["evt.arg.data"]) == ("sendto", sent, "datagram")
    assert port in {event["fd.sport"], event["fd.cport"]}
    assert event["fd.l4proto"] == "udp"


def test_the_user_is_the_one_in_whose_name_it_is_done(actions: Actions) -> None:
    """A program that became nobody uses the rights that it registered as root."""
    result, event = actions.one("personality", "open", "/etc/shadow")

    assert result >= 0
    assert (event["user.uid"], event["fd.name"], event["evt.rawres"]) == (0, "/etc/shadow", result)
