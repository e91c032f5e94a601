"""The contents of each release's golden batch; the files beside this module are what that release wrote.

Golden batches must stay decodable permanently. A release that changes the schema adds a file and leaves the older ones
unchanged: `python -m tests.golden.batches` writes the missing files.
"""

from array import array
from dataclasses import replace
from pathlib import Path

from schemas.batch import MISSING_INT, Container, EventBatch, EventBit, Mount, NetworkServer, Process, ProgramFile
from schemas.encoding.batch import encode_batch

FOLDER = Path(__file__).parent
SECOND = 1_000_000_000
NOON = 1_700_000_000 * SECOND
FULL_ID = "3d09256e" + "0" * 56


def batch_0_1() -> EventBatch:
    """Return a batch in which every field is set and every column has numbers other than 0."""
    strings: list[str | None] = [None, "openat", "file", "/etc/shadow", "shadow", "/run/link", "connect", "ipv4"]
    strings += ["10.0.0.1:40000->192.0.2.7:443", "10.0.0.1", "192.0.2.7", "tcp", "ip", "rename", "/a", "a", "/b", "b"]
    strings += ["GET /\udcff", "fd", "<f>/etc/shadow", "res", "Grüße"]
    at = {text: index for index, text in enumerate(strings)}

    def texts(first: str | None, second: str | None, third: str | None) -> "array[int]":
        return array("i", [at[first], at[second], at[third]])

    return EventBatch(
        host_id="0123456789abcdef0123456789abcdef",
        hostname="web-1",
        boot_id="5a3bfe6c-93d4-4c2b-8e3f-000000000001",
        collector_start=NOON - SECOND,
        sequence=7,
        created=NOON + 3,
        sent=NOON + 4,
        collector_version="0.1.0",
        kernel="6.1.0-18-amd64",
        previous_start=NOON - 900 * SECOND,
        previous_sequence=41,
        rules_version="rules-1",
        interest_version="interest-1",
        cpu_seconds=1.5,
        memory_bytes=40 << 20,
        lost={"events_ring_full": 3},
        first_number=1001,
        count=3,
        strings=strings,
        processes=[
            Process(pid=1, name="systemd"),
            Process(  # noqa: S604 (a login shell, not a command)
                pid=4711,
                ppid=1,
                vpid=1,
                pgid=4711,
                vpgid=1,
                sid=4700,
                name="cat",
                exe="cat",
                exepath="/usr/bin/cat",
                args=("/etc/shadow", ""),
                env=("A=1",),
                cwd="/root",
                tty=34816,
                loginuid=1000,
                uid=0,
                gid=0,
                user="root",
                group="root",
                login_name="ann",
                home="/root",
                shell="/bin/bash",
                cap_effective=0x1FFFFFFFFFF,
                cap_permitted=0x1FFFFFFFFFF,
                cap_inheritable=1,
                is_exe_writable=True,
                is_exe_upper_layer=True,
                is_exe_lower_layer=False,
                is_exe_from_memfd=False,
                exe_ino=2**64 - 1,
                exe_ino_ctime=NOON - 2,
                exe_ino_mtime=-1,
                start_time=NOON - 60 * SECOND,
                exec_time=NOON - 59 * SECOND,
                pidns_init_start_time=NOON - 61 * SECOND,
                exec_generation=3,
                cgroup=f"/docker/{FULL_ID}",
                container=0,
                parent=0,
                session_leader=0,
                group_leader=1,
            ),
        ],
        containers=[
            Container(
                id=FULL_ID[:12],
                full_id=FULL_ID,
                type="docker",
                name="web",
                image="nginx:1.25",
                image_id="a" * 64,
                image_repository="nginx",
                image_tag="1.25",
                image_digest="sha256:" + "b" * 64,
                privileged=False,
                start_ts=NOON - 70 * SECOND,
                ip="172.17.0.2",
                user="nginx",
                host_pid=False,
                host_network=True,
                host_ipc=False,
                mounts=(Mount(source="/var/www", dest="/srv", mode="ro", rw=False, propagation="rprivate"),),
                labels=(("team", "web"), ("empty", "")),
                pod_name="web-0",
                pod_uid="uid-1",
                pod_namespace="default",
                pod_sandbox_id="c" * 12,
                pod_labels=(("app", "web"),),
            )
        ],
        columns={
            "time": array("q", [NOON, NOON + 1, NOON + 2]),
            "process": array("i", [1, 1, 0]),
            "thread": array("i", [4711, 4712, 1]),
            "vthread": array("i", [1, 2, MISSING_INT]),
            "cpu": array("h", [3, 0, 1]),
            "res": array("q", [3, -115, 0]),
            "bits": array("I", [int(EventBit.OPEN_READ), int(EventBit.FAILED), int(EventBit.HAS_RES)]),
            "repeats": array("I", [0, 0, 0]),
            "fd_num": array("i", [3, 5, MISSING_INT]),
            "fd_dev": array("I", [2049, 0, 0]),
            "fd_ino": array("Q", [2**64 - 1, 0, 0]),
            "local_port": array("i", [-1, 40000, -1]),
            "remote_port": array("i", [-1, 443, -1]),
            "type": texts("openat", "connect", "rename"),
            "fd_type": texts("file", "ipv4", None),
            "fd_name": texts("/run/link", "10.0.0.1:40000->192.0.2.7:443", None),
            "fd_name_raw": texts("shadow", None, None),
            "fd_realpath": texts("/etc/shadow", None, None),
            "local_ip": texts(None, "10.0.0.1", None),
            "remote_ip": texts(None, "192.0.2.7", None),
            "l4proto": texts(None, "tcp", None),
            "sock_family": texts(None, "ip", None),
            "path_name": texts(None, None, "Grüße"),
            "path_name_raw": texts(None, None, "Grüße"),
            "path_source": texts(None, None, "/a"),
            "path_source_raw": texts(None, None, "a"),
            "path_target": texts(None, None, "/b"),
            "path_target_raw": texts(None, None, "b"),
            "buffer": texts(None, "GET /\udcff", None),
            "dns": texts(None, None, None),
            "remote_names": texts(None, None, None),
            "server_name": texts(None, None, None),
            "fd_file": texts(None, None, None),
            "arg_start": array("I", [0, 1, 1, 2]),
            "arg_name": array("i", [at["fd"], at["res"]]),
            "arg_value": array("i", [at["<f>/etc/shadow"], 0]),
            "arg_raw": array("q", [3, -2]),
        },
    )


def batch_0_2() -> EventBatch:
    """Return the same batch with collected event types and the collector's stop; 0.3 only encodes it differently."""
    return replace(batch_0_1(), watched=["execve"], narrowed=["openat", "rename"], interest=b"\x78\x01", stopping=True)


def batch_0_4() -> EventBatch:
    """Return a later part of that batch: repeats, cut texts, a script, files, a server, an answer, host facts."""
    before = batch_0_2()
    first, second = before.processes
    file = ProgramFile("5a" * 32, "dropped", "coreutils", "9.1-1", "curl", "ann", NOON, package_type="deb")
    server = NetworkServer(
        ("tcp 0.0.0.0:80", "udp [::]:53"), "nginx", "1.22.1-9", "deb", ("libc6 2.36-9", "libssl3 3.0.11")
    )
    script = replace(second, codepath="/usr/sbin/service", file=file, script=replace(file, path="/srv/x.sh"))
    processes = [replace(first, server=server), replace(script, is_args_truncated=True, is_env_truncated=True)]
    return replace(
        before,
        first_index=500,
        os_name="Debian GNU/Linux 12 (bookworm)",
        architecture="x86_64",
        addresses=["10.0.0.1", "2001:db8::1"],
        processes=processes,
        containers=[replace(before.containers[0], is_truncated=True), *before.containers[1:]],
        columns={
            **before.columns,
            "repeats": array("I", [0, 7, 2**32 - 1]),
            "dns": array("i", [0, 1, 0]),
            "remote_names": array("i", [0, 2, 0]),
            "server_name": array("i", [0, 3, 0]),
            "fd_file": array("i", [0, 0, 3]),
        },
    )


GOLDEN = {"0.1": batch_0_1, "0.2": batch_0_2, "0.3": batch_0_2, "0.4": batch_0_4}


def golden_path(release: str) -> Path:
    """Return the path of a release's golden batch."""
    return FOLDER / f"batch-{release}.bin"


def main() -> None:
    """Write the missing golden batches."""
    for release, make in GOLDEN.items():
        if not golden_path(release).exists():
            golden_path(release).write_bytes(encode_batch(make()))


if __name__ == "__main__":
    main()
