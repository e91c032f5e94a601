import platform
import re
import time
from itertools import chain, repeat
from pathlib import Path

import pytest

from collector import host
from collector.host import boot_to_epoch, host_addresses, this_host
from schemas.encoding.batch import decode_batch, encode_batch
from tests.unit.processor.batches import batch_of

MACHINE_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def machine_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the test's own machine id."""
    path = tmp_path / "machine-id"
    monkeypatch.setattr(host, "_MACHINE_ID", path)
    return path


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"LANNER_HOSTNAME": "ours", "FALCO_HOSTNAME": "theirs"}, "ours"),
        ({"FALCO_HOSTNAME": "theirs"}, "theirs"),
        ({"LANNER_HOSTNAME": "", "FALCO_HOSTNAME": "theirs"}, "theirs"),
    ],
)
def test_the_environment_names_the_host(environment: dict[str, str], name: str) -> None:
    """Our variable takes precedence over Falco's; an empty one doesn't count."""
    assert this_host(environment=environment).name == name


def test_a_setting_goes_before_the_environment() -> None:
    """A setting is chosen for this host."""
    assert this_host(name="chosen", environment={"LANNER_HOSTNAME": "ours"}).name == "chosen"


def test_a_host_that_nobody_named_has_a_name_of_its_own() -> None:
    """That of process 1's UTS namespace, which outside a container everybody shares."""
    found = this_host(environment={})

    assert found.name
    assert found.kernel == platform.release()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", found.boot_id)


def test_a_host_states_its_distribution_its_architecture_and_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As os-release and procfs have them; without loopback and link-local addresses, and at most 32."""
    assert this_host().architecture == platform.machine()
    files = {
        "/proc/1/root/etc/os-release": 'NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "/proc/1/net/fib_trie": "Local:\n  |-- 127.0.0.1\n     /32 host LOCAL\n  |-- 10.0.0.5\n     /32 host LOCAL\n"
        "  |-- 10.0.0.255\n     /32 link BROADCAST\n  |-- 169.254.1.1\n     /32 host LOCAL\n",
        "/proc/1/net/if_inet6": "20010db8000000000000000000000005 02 40 00 80     eth0\n"
        "fe8000000000000000fc00fffe000001 02 40 20 80     eth0\n"
        "00000000000000000000000000000001 01 80 10 80       lo\n",
    }
    monkeypatch.setattr(host, "_beginning", lambda path: files.get(path, ""))
    assert this_host().os_name == "Debian GNU/Linux 12 (bookworm)"
    assert host_addresses() == ["10.0.0.5", "2001:db8::5"]
    lines = "".join(f"|-- 10.0.1.{number}\n /32 host LOCAL\n" for number in range(100))
    monkeypatch.setattr(host, "_beginning", lambda path: lines if path.endswith("fib_trie") else "")
    assert len(host_addresses()) == 32


def test_the_machine_s_id_is_the_host_s(machine_id: Path) -> None:
    """It survives reboots and renames."""
    machine_id.write_text(f"{MACHINE_ID}\n")

    assert this_host(environment={}).id == MACHINE_ID


def test_a_setting_goes_before_the_machine_s_id(machine_id: Path) -> None:
    """Cloned machines share one."""
    machine_id.write_text(f"{MACHINE_ID}\n")

    assert this_host("chosen", environment={}).id == "chosen"


@pytest.mark.parametrize("content", [b"", b"uninitialized\n", b"\xff\xfe", b"0123\n"])
def test_a_machine_without_an_id_gets_one_of_its_name(machine_id: Path, content: bytes) -> None:
    """An image before its first boot has none, and two such hosts must not be one."""
    machine_id.write_bytes(content)

    first = this_host(environment={"LANNER_HOSTNAME": "a"}).id
    second = this_host(environment={"LANNER_HOSTNAME": "a"}).id
    other = this_host(environment={"LANNER_HOSTNAME": "b"}).id

    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first == second != other


def test_a_machine_without_the_file_gets_an_id_of_its_name(machine_id: Path) -> None:
    """Small images have no such file."""
    assert not machine_id.exists()
    assert re.fullmatch("[0-9a-f]{32}", this_host(environment={"LANNER_HOSTNAME": "a"}).id)


def test_names_that_no_batch_may_hold_are_shortened_and_stay_different() -> None:
    """Otherwise each batch of such a host would be refused."""
    first, second = (this_host("i" * 300 + end, "ö" * 300 + end) for end in "ab")
    assert max(len(text.encode()) for facts in (first, second) for text in (facts.id, facts.name)) == 256
    assert first.id != second.id
    assert first.name != second.name
    assert decode_batch(encode_batch(batch_of(host_id=first.id, hostname=second.name))).host_id == first.id


def test_a_reading_of_the_clocks_that_was_interrupted_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events would be wrong by the time for which other processes ran, and so would be the starts of processes."""
    wall, offset = time.time_ns, boot_to_epoch()
    waits = chain((0.05, 0.02), repeat(0.0))

    def read() -> int:
        time.sleep(next(waits))
        return wall()

    monkeypatch.setattr(time, "time_ns", read)

    assert abs(boot_to_epoch() - offset) < 5_000_000
