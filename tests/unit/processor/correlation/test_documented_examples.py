"""The examples of docs/stateful-macros.md do what that page states."""

import re
from dataclasses import replace
from pathlib import Path

from schemas.alert import Alert
from schemas.batch import EventBatch, EventBit, ProgramFile
from tests.unit.processor.correlation.rules import Host, evaluator_of

TEXT = (Path(__file__).parents[4] / "docs" / "stateful-macros.md").read_text(encoding="utf-8")
RULES = "\n".join(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))


def replay(*batches: EventBatch) -> list[Alert]:
    """Evaluate batches in order, up to their end, by all examples together."""
    evaluator = evaluator_of(RULES)
    return [alert for batch in batches for alert in evaluator.replay(batch)] + evaluator.correlator.finish()


def test_many_ssh_connections() -> None:
    """The twentieth within a minute fires, the two after it are reported in a summary."""
    host = Host()

    alert, summary = replay(*(host.accept(3 * number) for number in range(22)))

    assert alert.output == "20 SSH connections from 10.0.0.1 since 2026-11-24T14:20:00.000000000Z"
    assert summary.output.startswith("REPEATED 2 more times in 1m: 20 SSH connections")


def test_one_client_on_many_hosts() -> None:
    """The fifth host fires."""
    [alert] = replay(*(Host(f"web-{number}").accept(100 * number) for number in range(5)))

    assert alert.output == "10.0.0.1 came to web-0, web-1, web-2, web-3, web-4"


def test_keys_changed_and_history_cleared() -> None:
    """In either order, on one host."""
    one, other = Host("web-1"), Host("web-2")
    keys, history = "/root/.ssh/authorized_keys", "/root/.bash_history"

    for paths in ((keys, history), (history, keys)):
        [alert] = replay(*(one.write(60 * number, path) for number, path in enumerate(paths)))
        assert alert.output == f"{keys} and {history}"
    assert replay(one.write(0, keys), other.write(1, history)) == []


def test_downloaded_and_run() -> None:
    """Only in this order."""
    host = Host()

    [alert] = replay(host.download(0, "/tmp/evil"), host.run(200))

    assert alert.output == "/tmp/evil was run after /tmp/evil was written"
    assert replay(host.run(0), host.download(200, "/tmp/evil")) == []


def test_downloaded_and_scheduled() -> None:
    """Unless a package manager was started in between; one before or after changes nothing."""
    host, table = Host(), "/etc/cron.d/x"

    def outputs(*batches: EventBatch) -> list[str]:
        return [alert.output for alert in replay(*batches) if alert.rule == "Downloaded and scheduled"]

    found = [f"{table} was written after /tmp/evil"]
    assert outputs(host.download(0), host.write(9, table)) == found
    assert outputs(host.download(0), host.run(5, "apt"), host.write(9, table)) == []
    assert outputs(host.run(0, "apt"), host.download(5), host.write(9, table), host.run(10, "apt")) == found


def test_several_signs_of_credential_access() -> None:
    """Two rules of a tactic; the same one twice is not enough."""
    host = Host()

    found = replay(host.read(0, "/etc/shadow"), host.read(1, "/etc/shadow"), host.read(2, "/root/.ssh/id_rsa"))

    assert [alert.output for alert in found if alert.rule.startswith("Several")] == [
        "Password file read, Private key read on web-1"
    ]


def test_attacked_and_searched() -> None:
    """The client's connections to two hosts are many; the file counts on the host that accepted the last of them."""
    one, other = Host("web-1"), Host("web-2")
    accepted = [(one, other)[number % 2].accept(number) for number in range(20)]

    def found(host: Host) -> list[str]:
        alerts = replay(*accepted, host.read(30, "/etc/shadow"))
        return [alert.hostname for alert in alerts if alert.rule == "Attacked and searched"]

    assert found(other) == ["web-2"]
    assert found(one) == []


def test_new_program_in_an_image() -> None:
    """After a day of learning, on any host, once."""
    one, other, day = Host("web-1"), Host("web-2"), 86_400

    [alert] = replay(one.run(0, "sh"), other.run(day, "sh"), other.run(day + 1, "curl"), one.run(day + 99, "curl"))

    assert alert.output == "/tmp/curl, started by systemd, is new in nginx"


def test_configuration_changed() -> None:
    """Each file has an alert, and one summary reports its repeats with their id and number."""
    host = Host()

    first, other, summary = replay(*(host.write(number, f"/etc/app/{name}") for number, name in enumerate("aabaa")))

    assert (first.output, other.output) == ("/etc/app/a was opened for writing", "/etc/app/b was opened for writing")
    assert summary.output == "REPEATED 3 more times in 10m: /etc/app/a was opened for writing"
    assert summary.output_fields["repeats.first_id"] == first.id
    assert summary.output_fields["repeats.count"] == 3


def test_rare_program_connects() -> None:
    """Each program that is started counts its host; the third host makes it common."""

    def with_digests(batch: EventBatch) -> EventBatch:
        batch.processes = [replace(process, file=ProgramFile(process.name)) for process in batch.processes]
        return batch

    def connects(host: Host, at: float) -> EventBatch:
        bits = int(EventBit.HAS_RES)
        return with_digests(
            host.event(at, type="connect", process="evil", remote_ip="192.0.2.1", fd_type="ipv4", res=0, bits=bits)
        )

    def runs(host: Host, at: float, process: str) -> EventBatch:
        return with_digests(host.event(at, type="execve", process=process, res=0, bits=int(EventBit.HAS_RES)))

    day, one, other, third = 86_400, Host("web-1"), Host("web-2"), Host("web-3")
    start = [runs(one, 0, "sh"), runs(one, day, "evil"), runs(other, day + 5, "evil")]
    [rare] = [alert for alert in replay(*start, connects(one, day + 60)) if alert.rule == "Rare program connects"]
    since = "2026-11-25T14:20:00.000000000Z"
    assert rare.output == f"/tmp/evil connects to 192.0.2.1; since {since} on 2 hosts: web-1, web-2"
    assert (rare.output_fields["proc.exe.hosts"], rare.window and rare.window.count) == (2, 1)
    common = replay(*start, runs(third, day + 6, "evil"), connects(one, day + 60))
    assert "Rare program connects" not in [alert.rule for alert in common]
