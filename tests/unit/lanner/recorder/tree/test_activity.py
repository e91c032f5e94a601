from dataclasses import replace

from lanner.recorder.tree.activity import MAX_TEXT
from schemas.batch import Container, EventBit, Process, ProgramFile
from tests.unit.lanner.recorder.tree.incident import activities
from tests.unit.processor.batches import TIME, batch_of


def test_events_are_stated_in_words() -> None:
    """Openings by purpose, connections by the other end, renames by both names, others by their arguments."""
    batch = batch_of(
        {"type": "openat2", "fd_name": "/a"},
        {"type": "open", "fd_name": "/a", "bits": int(EventBit.OPEN_WRITE)},
        {"type": "connect", "fd_name": "10.0.0.1:4->10.0.0.2:80", "remote_ip": "10.0.0.2", "remote_port": 80},
        {"type": "renameat", "path_source": "/a", "path_target": "/b"},
        {"type": "ptrace", "args": {"res": "0", "request": "PTRACE_ATTACH", "pid": "7"}},
        {"type": "procexit", "args": {"ret": "1", "sig": "0"}},
        {"type": "procexit", "args": {"ret": "0", "sig": "SIGKILL"}},
        {"type": "openat", "fd_name": "/b", "repeats": 4},
    )
    found = activities(batch)
    assert [f"{each.verb} {each.target}" for each in found] == [
        *("open /a", "open for writing /a", "connect 10.0.0.2:80", "renameat /a -> /b"),
        *("ptrace request=PTRACE_ATTACH pid=7", "exit 1", "exit by SIGKILL", "open /b"),
    ]
    assert found[-1].count == 5


def test_a_failure_has_the_name_of_its_error() -> None:
    """A failed exec names the program that was to start."""
    bits = int(EventBit.FAILED | EventBit.HAS_RES)
    (found,) = activities(batch_of({"type": "execve", "path_name": "/bin/x", "res": -2, "bits": bits}))
    assert (found.verb, found.target, found.error) == ("exec", "/bin/x", "ENOENT")


def test_no_text_of_a_process_reaches_the_terminal_raw() -> None:
    """Controls are escaped, secrets are masked, and long texts are cut."""
    odd = Process(
        pid=5, name="\x1b]0;x\x07", args=("--password", "hunter2", "a\nb", "x" * 5000), user="\u202eroot", container=0
    )
    container = Container(id="0123456789ab", full_id="0" * 64, type="docker", name="web\r")
    (found,) = activities(
        batch_of({"type": "openat", "fd_name": "/tmp/\x9b2J"}, processes=[odd], containers=[container])
    )
    (who,) = found.line
    assert (who.name, who.user, who.container) == ("\\x1b]0;x\\x07", "\\u202eroot", "web\\r")
    assert who.command.startswith("\\x1b]0;x\\x07 --password [redacted] a\\nb xxx")
    assert len(who.command) == MAX_TEXT + 1
    assert found.target == "/tmp/\\x9b2J"


def test_a_line_of_a_thousand_processes_is_followed() -> None:
    """The line begins with the process itself."""
    rows = [Process(pid=1, name="a")] + [Process(pid=number + 2, name="a", parent=number) for number in range(1500)]
    (found,) = activities(batch_of({"type": "openat", "process": 1500}, processes=rows))
    assert [each.pid for each in found.line] == list(range(1501, 0, -1))


def test_names_that_were_looked_up_are_stated() -> None:
    """The other end of a connection has its name; an answer states what was found, or that there is nothing."""
    server = {"remote_ip": "10.0.0.2", "remote_port": 80, "remote_names": "a.example b.example"}
    batch = batch_of(
        {"type": "connect", **server},
        {"type": "sendto", "fd_name": "10.0.0.1:4->10.0.0.2:80", **server},
        {"type": "recvfrom", "dns": "a.example A NOERROR b.example 10.0.0.2"},
        {"type": "recvmsg", "dns": "c.example AAAA NXDOMAIN"},
        {"type": "sendto", "server_name": "d.example", **server},
        {"type": "sendto", "server_name": "a.example", **server},
    )
    assert [f"{each.verb} {each.target}" for each in activities(batch)] == [
        "connect 10.0.0.2:80, looked up as a.example",
        "sendto 10.0.0.1:4->10.0.0.2:80, looked up as a.example",
        "look up a.example (A) -> b.example 10.0.0.2",
        "look up c.example (AAAA) -> NXDOMAIN",
        "request d.example (TLS) at 10.0.0.2, looked up as a.example",
        "request a.example (TLS) at 10.0.0.2",
    ]


def test_a_program_that_nobody_ships_has_its_origin() -> None:
    """With its writer, whose name is a host's own; those of packages have none."""
    dropped = ProgramFile(origin="dropped", written_by="curl\x1b", written_by_user="ann", written_at=TIME)
    files = [dropped, ProgramFile(origin="modified", package="a", package_version="1"), ProgramFile(origin="package")]
    rows = [Process(pid=5 + number, name="x", file=file) for number, file in enumerate(files)]
    rows[2] = replace(rows[2], script=ProgramFile(path="/x.sh", origin="dropped"))
    batch = batch_of(*({"type": "openat", "process": number} for number in range(3)), processes=rows)
    origins = [each.line[0].origin for each in activities(batch)]
    assert origins[0].startswith("program dropped at 20")
    assert origins[0].endswith(" by curl\\x1b (ann)")
    assert origins[1:] == ["program of package a 1, modified", "script from no package"]
