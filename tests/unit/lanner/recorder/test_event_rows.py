from lanner.recorder.event_rows import lines, rows
from processor.output.redaction import Redaction
from schemas.batch import Process, ProgramFile
from tests.unit.processor.batches import batch_of

SERVER = {"remote_ip": "10.0.0.2", "remote_port": 53, "remote_names": "a.example"}
BATCH = batch_of(
    {"type": "sendto", "fd_name": "10.0.0.1:4->10.0.0.2:53", "fd_type": "ipv4", **SERVER},
    {"type": "recvmsg", "fd_name": "x", "dns": "b.example A NOERROR 10.0.0.3"},
    {"type": "recvmsg", "dns": "c.example TXT NXDOMAIN"},
    {"type": "write", "server_name": "d.example"},
    {"type": "close"},
    processes=[Process(pid=5, name="x", file=ProgramFile(sha256="5a" * 32, origin="package", package="coreutils"))],
)


def test_a_line_has_the_names_that_were_looked_up() -> None:
    """Behind the name of the descriptor, if there is one."""
    assert [line.partition(" [")[2] for line in lines(BATCH, Redaction())] == [
        "10.0.0.1:4->10.0.0.2:53, looked up as a.example]",
        "x, look up b.example (A) -> 10.0.0.3]",
        "look up c.example (TXT) -> NXDOMAIN]",
        "request d.example (TLS)]",
        "",
    ]


def test_a_row_has_what_is_known_of_the_program_and_of_names() -> None:
    """By the names that conditions use; missing values are left out."""
    sent, received, *_ = rows(BATCH, Redaction())
    assert (sent["proc.exe.sha256"], sent["proc.exe.origin"]) == ("5a" * 32, "package")
    assert (received["dns.question.name"], received["dns.answers"]) == ("b.example", "10.0.0.3")
    assert "dns.question.name" not in sent
