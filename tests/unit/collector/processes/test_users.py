import os
import shutil
import socket
from pathlib import Path

import pytest

from collector.processes.container_names import ContainerName
from collector.processes.users import MAX_ENTRIES, Names, UserAccounts, UserFiles, parse_group, parse_passwd
from collector.procfs import foreign_files
from collector.procfs.accounts import AccountFilesQuery
from collector.procfs.foreign_files import open_below, read_below

MOUNTS = b"21 1 0:20 / / rw - overlay overlay rw\n"
HOST_MOUNTS = (
    b"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    b"9 1 0:20 / /var/lib/docker/overlay2/c/merged rw - overlay overlay rw,lowerdir=/var/lib/a:/var/lib/b,upperdir=/u\n"
)
CONTAINER = ContainerName("docker", "c" * 64, None, f"/docker/{'c' * 64}")


class Clock:
    """A clock set by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Make a host's root with its own users."""
    return make_root(tmp_path / "host", "root:x:0:0::/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/zsh\n")


def make_root(root: Path, passwd: str, group: str = "root:x:0:\nstaff:x:1000:alice\n") -> Path:
    """Make a root directory with user files."""
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "passwd").write_text(passwd)
    (root / "etc" / "group").write_text(group)
    return root


def make_process(
    tmp_path: Path,
    pid: int,
    root: Path,
    *,
    mounts: bytes = MOUNTS,
    uid_map: str = "",
    vpid: int = 1,
    namespaces: int = 8,
    cgroup: str = CONTAINER.cgroup,
) -> Path:
    """Make the files of a process with a root of its own."""
    folder = tmp_path / "proc" / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "stat").write_text(f"{pid} (sh) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {pid} 0 0\n")
    (folder / "status").write_text(
        f"Name:\tsh\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t1\nUid:\t0\t0\nGid:\t0\t0\nNSpid:\t{pid}\t{vpid}\n"
    )
    (folder / "cgroup").write_text(f"0::{cgroup}\n")
    for kind in ("mnt", "pid"):
        (folder / "ns" / kind).symlink_to(f"{kind}:[{namespaces}]")
    host = tmp_path / "proc" / "1"
    if not host.exists():
        (host / "ns").mkdir(parents=True)
        (host / "ns" / "pid").symlink_to("pid:[1]")
        (host / "mountinfo").write_bytes(HOST_MOUNTS)
    (folder / "root").symlink_to(root)
    (folder / "mountinfo").write_bytes(mounts)
    (folder / "uid_map").write_text(uid_map or "0 0 4294967295\n")
    (folder / "gid_map").write_text(uid_map or "0 0 4294967295\n")
    return folder


class TestParsing:
    def test_the_first_line_of_a_uid_counts(self) -> None:
        """As for getpwuid: toor doesn't replace root."""
        users = parse_passwd(b"root:x:0:0:r:/root:/bin/sh\ntoor:x:0:0::/:/bin/csh\n")

        assert (users[0].name, users[0].home, users[0].shell) == ("root", "/root", "/bin/sh")

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"#comment",
            b"x:x:y:0::/:/bin/sh",
            b":x:5:5::/:/bin/sh",
            b"+::::::",
            b"root:$6$salt$hash:19000:0:99999:7:::",
            b"a:x:-1:0::/:",
            b"a:x:99999999999:0::/:",
            b"a:x:4294967295:0::/:",
            b"\0" * 100,
        ],
    )
    def test_what_is_no_user_is_passed_over(self, line: bytes) -> None:
        """A shadow file, an NIS line or garbage adds no user."""
        assert parse_passwd(line + b"\nbin:x:2:2::/bin:/bin/sh\n").keys() == {2}

    def test_files_name_a_bounded_number(self) -> None:
        """A hostile file may list millions."""
        text = b"".join(b"u%d:x:%d:0::/:\n" % (number, number) for number in range(MAX_ENTRIES + 50))

        assert len(parse_passwd(text)) == MAX_ENTRIES

    def test_groups(self) -> None:
        """Members are ignored."""
        assert parse_group(b"root:x:0:\nadm:x:4:syslog,alice\nbad:x:y:\nshadow:*::\n") == {0: "root", 4: "adm"}

    def test_names_keep_bytes_that_are_no_text(self) -> None:
        """They stay distinguishable and are not replaced."""
        assert parse_passwd(b"b\xff:x:5:5::/:\n")[5].name == "b\udcff"

    def test_root_needs_no_file(self) -> None:
        """An image built from scratch has none, and its uid 0 is still root."""
        assert UserAccounts().names(0, 0, -1) == Names("root", "root", None, "/root", None)
        assert UserAccounts().names(5, 5, 5) == Names()


class TestHost:
    def test_ids_are_named_by_the_host_s_files(self, tmp_path: Path, host: Path) -> None:
        """Login users too; a login uid of -1 means unset."""
        users = UserFiles(tmp_path / "proc", host)

        assert users.names(1000, 1000, 1000, None, ()) == Names("alice", "staff", "alice", "/home/alice", "/bin/zsh")
        assert users.names(0, 5, -1, None, ()) == Names("root", None, None, "/root", "/bin/bash")

    def test_a_changed_file_is_read_again(self, tmp_path: Path, host: Path) -> None:
        """But checked at most once a second."""
        clock = Clock()
        users = UserFiles(tmp_path / "proc", host, clock)
        assert users.names(7, None, None, None, ()).user is None

        (host / "etc" / "passwd").write_text("new:x:7:7::/:/bin/sh\n")
        assert users.names(7, None, None, None, ()).user is None
        clock.seconds += 1.5

        assert users.names(7, None, None, None, ()).user == "new"


class TestContainers:
    def test_a_container_has_its_own_users(self, tmp_path: Path, host: Path) -> None:
        """They stay known after its processes have ended."""
        clock = Clock()
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:/bin/false\n", "app:x:1000:\n")
        folder = make_process(tmp_path, 9, root)
        users = UserFiles(tmp_path / "proc", host, clock)

        assert users.names(1000, 1000, -1, CONTAINER, (9,)) == Names("app", "app", None, "/app", "/bin/false")

        shutil.rmtree(folder)
        clock.seconds += 5
        assert users.names(1000, 1000, -1, CONTAINER, (9,)).user == "app"

    def test_a_helper_that_has_not_moved_in_is_not_believed(self, tmp_path: Path, host: Path) -> None:
        """Its root is still the host's; the next process is tried at once."""
        make_process(tmp_path, 9, host)
        users = UserFiles(tmp_path / "proc", host)
        assert users.names(1000, None, -1, CONTAINER, (9,)).user is None

        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        make_process(tmp_path, 10, root)

        assert users.names(1000, None, -1, CONTAINER, (9, 10)).user == "app"

    def test_ids_are_mapped_where_the_container_has_a_user_namespace(self, tmp_path: Path, host: Path) -> None:
        """The host's 101000 is the container's 1000."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        make_process(tmp_path, 9, root, uid_map="0 100000 65536\n")
        users = UserFiles(tmp_path / "proc", host)

        assert users.names(101_000, 100_000, -1, CONTAINER, (9,)) == Names("app", "root", None, "/app", None)
        assert users.names(5, None, -1, CONTAINER, (9,)).user is None

    def test_a_file_system_that_may_never_answer_is_not_queried(self, tmp_path: Path, host: Path) -> None:
        """A FUSE mount over /etc would delay every event."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        make_process(tmp_path, 9, root, mounts=MOUNTS + b"22 21 0:21 / /etc rw - fuse.evil evil rw\n")
        users = UserFiles(tmp_path / "proc", host)

        assert users.names(1000, None, -1, CONTAINER, (9,)).user is None

    def test_what_was_not_queried_is_counted_and_left_alone_for_a_while(self, tmp_path: Path, host: Path) -> None:
        """Once per container, not once per event."""
        clock = Clock()
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        folder = make_process(tmp_path, 9, root, mounts=MOUNTS + b"22 21 0:21 / /etc rw - fuse.evil evil rw\n")
        users = UserFiles(tmp_path / "proc", host, clock)
        for _ in range(3):
            clock.seconds += 61
            users.names(1000, None, -1, CONTAINER, (9,))
        assert users.remote == 1

        (folder / "mountinfo").write_bytes(MOUNTS)
        assert users.names(1000, None, -1, CONTAINER, (9,)).user is None
        clock.seconds += 61
        assert users.names(1000, None, -1, CONTAINER, (9,)).user == "app"

    def test_an_overlay_that_the_host_does_not_know_is_not_queried(self, tmp_path: Path, host: Path) -> None:
        """Anyone with a user namespace can mount one above FUSE."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        make_process(tmp_path, 9, root, mounts=MOUNTS + b"22 21 0:77 / /etc rw - overlay o rw,lowerdir=/lower\n")

        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (9,)).user is None

    def test_a_changed_root_is_queried_where_the_host_knows_its_file_system(self, tmp_path: Path, host: Path) -> None:
        """Its own mount isn't listed among the mounts of the process."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        make_process(tmp_path, 9, root, mounts=b"")
        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (9,)).user is None

        device = root.stat().st_dev
        known = f"2 1 {os.major(device)}:{os.minor(device)} / /srv rw - ext4 /dev/sdb rw\n"
        (tmp_path / "proc" / "1" / "mountinfo").write_text(known)
        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (9,)).user == "app"

    def test_more_mounts_than_are_read_are_not_queried(self, tmp_path: Path, host: Path) -> None:
        """The relevant one may come last."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        many = b"".join(b"%d 1 0:1 / /m/%d rw,relatime - tmpfs tmpfs rw\n" % (n, n) for n in range(30_000))
        make_process(tmp_path, 9, root, mounts=MOUNTS + many + b"9 1 0:5 / /etc rw - fuse.x x rw\n")

        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (9,)).user is None

    def test_what_is_given_up_is_queried_again_after_a_while(self, tmp_path: Path, host: Path) -> None:
        """Known names stay known."""
        clock = Clock()
        queries: list[AccountFilesQuery] = []

        def look(question: AccountFilesQuery) -> None:
            queries.append(question)

        users = UserFiles(tmp_path / "proc", host, clock, look)
        for _ in range(130):
            clock.seconds += 1
            users.names(1000, None, -1, CONTAINER, (9,))

        assert len(queries) == 3

    def test_with_a_fuse_mount_anywhere_links_are_not_followed(self, tmp_path: Path, host: Path) -> None:
        """A link could lead onto it."""
        root = make_root(tmp_path / "inside", "app:x:1000:1000::/app:\n")
        (root / "etc" / "passwd").rename(root / "data")
        (root / "etc" / "passwd").symlink_to("/data")
        make_process(tmp_path, 9, root)
        make_process(tmp_path, 10, root, mounts=MOUNTS + b"22 21 0:21 / /data rw - fuse.x x rw\n")

        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (9,)).user == "app"
        assert UserFiles(tmp_path / "proc", host).names(1000, None, -1, CONTAINER, (10,)).user is None


class TestWhoSpeaksForAContainer:
    def test_a_process_that_is_not_in_its_cgroup_does_not(self, tmp_path: Path, host: Path) -> None:
        """It may have moved to another cgroup since the table knew it."""
        make_process(tmp_path, 9, make_root(tmp_path / "own", "fake:x:0:0::/:\n"), cgroup="/user.slice")
        make_process(
            tmp_path, 10, make_root(tmp_path / "inside", "real:x:0:0::/:\n"), cgroup=f"{CONTAINER.cgroup}/init"
        )

        assert UserFiles(tmp_path / "proc", host).names(0, None, -1, CONTAINER, (9, 10)).user == "real"

    def test_a_process_that_is_not_its_first_does_not(self, tmp_path: Path, host: Path) -> None:
        """It may have changed to a root of its own making."""
        make_process(tmp_path, 10, make_root(tmp_path / "inside", "fake:x:0:0::/:\n"), vpid=7)

        assert UserFiles(tmp_path / "proc", host).names(0, None, -1, CONTAINER, (10,)).user == "root"

    def test_as_long_as_the_first_lives_it_alone_does(self, tmp_path: Path, host: Path) -> None:
        """Not even the first process of a namespace created inside the container."""
        clock = Clock()
        users = UserFiles(tmp_path / "proc", host, clock)
        inside = make_process(tmp_path, 10, make_root(tmp_path / "inside", "real:x:0:0::/:\n"))
        make_process(tmp_path, 11, make_root(tmp_path / "own", "fake:x:0:0::/:\n"), namespaces=9)
        assert users.names(0, None, -1, CONTAINER, (10,)).user == "real"
        clock.seconds += 5
        assert users.names(0, None, -1, CONTAINER, (11,)).user == "real"

        shutil.rmtree(inside)
        clock.seconds += 5
        assert users.names(0, None, -1, CONTAINER, (11,)).user == "fake"

    def test_a_companion_does_when_the_first_has_ended(self, tmp_path: Path, host: Path) -> None:
        """In the same namespaces."""
        clock = Clock()
        users = UserFiles(tmp_path / "proc", host, clock)
        inside = make_process(tmp_path, 10, make_root(tmp_path / "inside", "real:x:0:0::/:\n"))
        make_process(tmp_path, 11, make_root(tmp_path / "later", "later:x:0:0::/:\n"), vpid=7)
        users.names(0, None, -1, CONTAINER, (10,))
        shutil.rmtree(inside)
        clock.seconds += 5

        assert users.names(0, None, -1, CONTAINER, (11,)).user == "later"

    def test_in_the_host_s_pid_namespace_there_is_no_first(self, tmp_path: Path, host: Path) -> None:
        """As with docker run --pid host."""
        make_process(tmp_path, 10, make_root(tmp_path / "inside", "real:x:0:0::/:\n"), vpid=10, namespaces=1)

        assert UserFiles(tmp_path / "proc", host).names(0, None, -1, CONTAINER, (10,)).user == "real"

    def test_made_up_containers_push_out_none_that_are_known(
        self, tmp_path: Path, host: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They have a cache of their own."""
        monkeypatch.setattr("collector.processes.users.MAX_CONTAINERS", 2)
        users = UserFiles(tmp_path / "proc", host)
        inside = make_process(tmp_path, 10, make_root(tmp_path / "inside", "real:x:0:0::/:\n"))
        users.names(0, None, -1, CONTAINER, (10,))
        shutil.rmtree(inside)
        for number in range(5):
            name = ContainerName("docker", f"{number:064x}", None, f"/docker/x/docker/{number}", is_certain=False)
            make_process(tmp_path, 20 + number, tmp_path / "inside", cgroup=name.cgroup)
            users.names(0, None, -1, name, (20 + number,))

        assert users.names(0, None, -1, CONTAINER, ()).user == "real"


class TestHostileFiles:
    @pytest.fixture(params=["openat2", "steps"], autouse=True)
    def each_method(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
        """Return each way of opening below a root, for kernels with and without openat2."""
        if request.param == "steps":
            monkeypatch.setattr(foreign_files, "_OPENAT2", 100_000)
        return str(request.param)

    def read(self, root: Path) -> bytes | None:
        """Read the passwd file below a root."""
        descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
        try:
            found = read_below(descriptor, "etc/passwd")
        finally:
            os.close(descriptor)
        return None if found is None else found[0]

    def test_a_link_does_not_leave_the_root(self, tmp_path: Path, each_method: str) -> None:
        """Neither an absolute link nor one with `..` reaches the host's file."""
        secret = tmp_path / "etc" / "shadow"
        secret.parent.mkdir()
        secret.write_text("secret")
        root = make_root(tmp_path / "inside", "")
        for target in (str(secret), "../../etc/shadow", "../../../../../../" + str(secret), "/etc/shadow"):
            (root / "etc" / "passwd").unlink()
            (root / "etc" / "passwd").symlink_to(target)

            assert self.read(root) is None, each_method

    def test_a_linked_folder_does_not_leave_the_root(self, tmp_path: Path) -> None:
        """/etc itself may be a link."""
        outside = make_root(tmp_path / "outside", "outside:x:1:1::/:\n")
        root = tmp_path / "inside"
        root.mkdir()
        (root / "etc").symlink_to(outside / "etc")

        assert self.read(root) is None

    def test_a_magic_link_is_not_followed(self, tmp_path: Path) -> None:
        """/proc/self/root within the container's tree would be the reader's own root."""
        root = make_root(tmp_path / "inside", "")
        (root / "etc" / "passwd").unlink()
        (root / "etc" / "passwd").symlink_to("/proc/self/root/etc/passwd")

        assert self.read(root) is None

    def test_a_link_inside_the_root_is_followed_where_the_kernel_can(self, tmp_path: Path, each_method: str) -> None:
        """Some images store /etc elsewhere; old kernels offer no safe way to follow."""
        root = make_root(tmp_path / "inside", "")
        (root / "real").write_text("app:x:1:1::/:\n")
        (root / "etc" / "passwd").unlink()
        (root / "etc" / "passwd").symlink_to("/real")

        assert self.read(root) == (b"app:x:1:1::/:\n" if each_method == "openat2" else None)

    @pytest.mark.timeout(20)
    def test_a_fifo_does_not_make_the_reader_wait(self, tmp_path: Path) -> None:
        """Nobody will ever write to it."""
        root = make_root(tmp_path / "inside", "")
        (root / "etc" / "passwd").unlink()
        os.mkfifo(root / "etc" / "passwd")

        assert self.read(root) is None

    def test_sockets_and_folders_are_no_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only regular files are opened."""
        root = make_root(tmp_path / "inside", "")
        (root / "etc" / "passwd").unlink()
        (root / "etc" / "passwd").mkdir()
        assert self.read(root) is None
        (root / "etc" / "passwd").rmdir()

        monkeypatch.chdir(root / "etc")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("passwd")
            assert self.read(root) is None

    @pytest.mark.timeout(20)
    def test_a_file_without_end_is_read_in_part(self, tmp_path: Path) -> None:
        """A sparse file of 100 MB costs one megabyte, and the users before the hole are found."""
        root = make_root(tmp_path / "inside", "app:x:1:1::/:\n")
        os.truncate(root / "etc" / "passwd", 100 << 20)

        assert self.read(root) == b"app:x:1:1::/:\n"

    def test_no_descriptor_is_left_open(self, tmp_path: Path) -> None:
        """Neither on success nor on failure."""
        root = make_root(tmp_path / "inside", "app:x:1:1::/:\n")
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(20):
            self.read(root)
        (root / "etc" / "passwd").unlink()
        for _ in range(20):
            self.read(root)

        # Fewer if something of another test's has been closed.
        assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_path_with_dots_is_refused_where_openat2_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`..` could leave the root."""
    monkeypatch.setattr(foreign_files, "_OPENAT2", 100_000)
    descriptor = os.open(tmp_path, os.O_PATH)
    with pytest.raises(OSError, match="leave the root"):
        open_below(descriptor, "../etc")
    os.close(descriptor)
