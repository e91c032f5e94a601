import pytest

from collector.records.exec_strings import VARIABLE_BYTES, code_path, kernel_keys, script_of, shown
from schemas.filter import EVERY_VARIABLE

ENVIRONMENT = ("HOME=/root", "AWS_SECRET_ACCESS_KEY=hush", "HOMEPAGE=x", "EMPTY=", "odd", "HOME=again")
SYSTEM = ("PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8", "TERM=xterm")


def encoded(*entries: str) -> tuple[bytes, ...]:
    """Return the entries as the kernel sends them."""
    return tuple(entry.encode() for entry in entries)


def test_only_what_is_named_is_shown() -> None:
    """A name is compared in full, with its case."""
    everything = encoded(*ENVIRONMENT)

    assert list(shown(everything, frozenset({"HOME", "home", "odd"}))) == ["HOME=/root", "odd", "HOME=again"]
    assert list(shown(everything, frozenset({"OTHER"}))) == []
    assert list(shown(everything, frozenset({"OTHER", EVERY_VARIABLE}))) == list(ENVIRONMENT)


def test_a_longer_beginning_has_the_uses_of_the_shorter_ones() -> None:
    """The kernel side finds only the longest beginning of a variable."""
    keys = kernel_keys(["LD_PRELOAD", "PERL5LIB", "SECRET", "X" * 100])

    assert (keys[b"LD_"], keys[b"LD_PRELOAD="]) == (2, 3)
    assert (keys[b"PERL"], keys[b"PERL5LIB="]) == (4, 5)
    assert keys[b"SECRET="] == 1
    assert keys[b"X" * VARIABLE_BYTES] == 1
    assert set(kernel_keys([EVERY_VARIABLE]).values()) == {1, 3, 5}
    assert set(kernel_keys(()).values()) == {2, 4}


@pytest.mark.parametrize(
    ("exepath", "script"),
    [
        ("/usr/bin/passwd", None),
        ("/usr/bin/dash", "/usr/sbin/service"),
        ("/usr/bin/perl", "/usr/sbin/adduser"),
        ("/usr/bin/perl5.36.0", "/usr/sbin/adduser"),
        ("/usr/bin/python3.11", "/usr/bin/unattended-upgrade"),
        ("/usr/libexec/platform-python3.6", "/usr/bin/dnf-3"),
        ("/usr/bin/ruby3.1", "/usr/bin/puppet"),
    ],
)
def test_a_program_or_script_has_the_path_of_its_code(exepath: str, script: str | None) -> None:
    """In the environment of an ordinary session of root, and in none."""
    for environment in ((), SYSTEM, (*SYSTEM, "LD_PRELOAD=", "BASH_ENV=", "PYTHONPATH=", "EDITOR=vim")):
        assert code_path(exepath, script, encoded(*environment)) == (script or exepath)


@pytest.mark.parametrize(
    "entry",
    [
        "LD_LIBRARY_PATH=/usr/lib/jvm",
        "LD_LIBRARY_PATH=/usr/local/cuda/lib64:/usr/local/nvidia/lib",
        "LD_LIBRARY_PATH=/snap/docker/2915/usr/lib",
        "LD_LIBRARY_PATH=/var/lib/containerd/opt/lib",
    ],
)
def test_installed_libraries_change_nothing(entry: str) -> None:
    """Images and services have them in every process."""
    assert code_path("/usr/bin/dpkg", None, encoded(entry)) == "/usr/bin/dpkg"


@pytest.mark.parametrize(
    "entry",
    [
        "LD_PRELOAD=/tmp/x.so",
        "LD_PRELOAD=x.so",
        "LD_PRELOAD=/usr/lib/x.so",
        "LD_LIBRARY_PATH=/usr/lib/x:/tmp/x",
        "LD_LIBRARY_PATH=/usr/lib/../tmp/x",
        "LD_LIBRARY_PATH=/usr/tmp/x",
        "LD_AUDIT=/usr/lib/x.so",
        "LD_LIBRARY_PATH=.",
        "LD_LIBRARY_PATH=/usr/lib/x:",
        "LD_LIBRARY_PATH=/usr/lib/x::/usr/lib/y",
        "LD_LIBRARY_PATH=/usr/lib/\n:/tmp",
        "LD_LIBRARY_PATH=/run/containerd/x/rootfs/lib",
        "LD_LIBRARY_PATH=/var/lib/containerd/x/lib",
        "OPENSSL_CONF=/tmp/x",
    ],
)
def test_libraries_of_others_leave_no_program_its_path(entry: str) -> None:
    """Unless the program has more rights than whoever started it, and so ignores such variables."""
    assert code_path("/usr/bin/sudo", None, encoded(*SYSTEM, entry)) is None
    assert code_path("/usr/bin/sudo", None, encoded(*SYSTEM, entry), is_secure=True) == "/usr/bin/sudo"


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        ("/", "/usr/bin/runc"),
        ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/3d09256e", "/usr/bin/runc"),
        ("/var/lib/docker-2/exec/containerd/daemon/io.containerd.runtime.v2.task/moby/3d09256e", "/usr/bin/runc"),
        ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/3d09256e/rootfs", None),
        ("/tmp", None),
        (None, None),
    ],
)
def test_what_containerd_starts_has_libraries_of_the_working_directory(cwd: str | None, expected: str | None) -> None:
    """That is the container's own directory, in which only root writes."""
    environment = encoded(*SYSTEM, "LD_LIBRARY_PATH=/opt/containerd/lib:")

    assert code_path("/usr/bin/runc", None, environment, cwd=cwd) == expected


@pytest.mark.parametrize(
    ("exepath", "entry"),
    [
        ("/usr/bin/bash", "BASH_ENV=/tmp/x"),
        ("/usr/bin/bash", "BASH_FUNC_cp%%=() { :; }"),
        ("/usr/bin/bash", "SHELLOPTS=xtrace"),
        ("/usr/bin/dash", "ENV=/tmp/x"),
        ("/usr/bin/dash", "PATH=/tmp:/usr/bin"),
        ("/usr/bin/dash", "PATH=/usr/bin:"),
        ("/usr/bin/dash", "PATH="),
        ("/usr/bin/perl", "PERL5LIB=/tmp"),
        ("/usr/bin/perl", "PERL5OPT=-Mx"),
        ("/usr/bin/perl", "LD_PRELOAD=/tmp/x.so"),
        ("/usr/bin/python3", "PYTHONPATH=/tmp"),
        ("/usr/bin/python3", "PYTHONHOME=/tmp"),
        ("/usr/bin/python3", "HOME=/home/ann"),
        ("/usr/bin/python3", "HOME="),
    ],
)
def test_an_interpreter_that_runs_other_code_first_leaves_a_script_no_path(exepath: str, entry: str) -> None:
    """Also beside a harmless value of the same variable."""
    assert code_path(exepath, "/usr/sbin/known", encoded(*SYSTEM, entry)) is None
    assert code_path(exepath, "/usr/sbin/known", encoded(entry, *SYSTEM)) is None


def test_variables_of_another_interpreter_change_nothing() -> None:
    """People have variables of Python in every session."""
    mine = encoded("PYTHONPATH=/home/ann/lib", "ENV=production", "HOME=/home/ann", "PATH=/home/ann/bin:/usr/bin")

    assert code_path("/usr/bin/perl", "/usr/sbin/adduser", mine) == "/usr/sbin/adduser"
    assert code_path("/usr/bin/su", None, mine) == "/usr/bin/su"


@pytest.mark.parametrize("script", ["adduser", "./adduser", "/tmp/../usr/sbin/adduser", "/usr//sbin/adduser"])
def test_only_a_plain_absolute_path_names_a_script(script: str) -> None:
    """Others may lead elsewhere by the time at which the interpreter opens them."""
    assert code_path("/usr/bin/perl", script, ()) is None


def test_what_is_unknown_has_no_path() -> None:
    """An environment that could not be read, an interpreter with variables of its own, a file without a path."""
    assert code_path("/usr/bin/passwd", None, None) is None
    assert code_path("/usr/bin/node", "/usr/bin/npm", ()) is None
    assert code_path("", None, ()) is None


@pytest.mark.parametrize(
    ("program", "args", "expected"),
    [
        ("/usr/bin/bash", "bash x.sh -c a", "/home/ann/x.sh"),
        ("/usr/bin/bash", "bash -eux -o pipefail ./x.sh", "/home/ann/x.sh"),
        ("/usr/bin/dash", "sh -- -x.sh", "/home/ann/-x.sh"),
        ("/usr/bin/bash", "bash --rcfile a --norc ../x.sh", "/home/ann/../x.sh"),
        ("/bin/busybox", "sh /x.sh", "/x.sh"),
        ("/usr/bin/python3.11", "python3 -I -W ignore -Xdev /srv/x.py", "/srv/x.py"),
        ("/opt/python3.13t/bin/python3", "python3 -uB x.py -m a", "/home/ann/x.py"),
        ("/usr/bin/perl5.36-x86_64-linux-gnu", "perl -w -I lib -Mstrict x.pl", "/home/ann/x.pl"),
        ("/usr/bin/ruby3.1", "ruby -W0 -r json x.rb", "/home/ann/x.rb"),
        ("/usr/bin/node", "node x.js", "/home/ann/x.js"),
        ("/usr/bin/bash", "bash -c ls /x.sh", None),
        ("/usr/bin/bash", "bash -ec ls /x.sh", None),
        ("/usr/bin/bash", "bash -s /x.sh", None),
        ("/usr/bin/bash", "bash --unknown /x.sh", None),
        ("/usr/bin/bash", "bash -o", None),
        ("/usr/bin/bash", "-bash", None),
        ("/usr/bin/python3.11", "python3 -m http.server /x.py", None),
        ("/usr/bin/python3.11", "python3 -c 1 /x.py", None),
        ("/usr/bin/python3.11", "python3 - /x.py", None),
        ("/usr/bin/perl", "perl -e 1 /x.pl", None),
        ("/usr/bin/perl", "perl -ne 1 /x.pl", None),
        ("/usr/bin/node", "node --require ./a.js x.js", None),
        ("/usr/bin/ls", "ls /x.sh", None),
        ("/bin/busybox", "ls /x.sh", None),
        ("", "", None),
    ],
)
def test_the_script_is_the_first_argument_after_known_options(program: str, args: str, expected: str | None) -> None:
    """Relative to the working directory; none if options bring code, or may be followed by something else."""
    assert script_of(program, args.split(), "/home/ann", None) == expected


def test_a_file_that_names_its_interpreter_is_the_script_of_any() -> None:
    """The kernel reports so, whatever the arguments look like."""
    assert script_of("/usr/bin/awk", ["awk", "-f", "./x"], "/", "./x") == "/x"
    assert script_of("/usr/bin/bash", ["bash", "-c", "a"], "/", "/srv/x") == "/srv/x"


def test_what_has_no_path_is_no_script() -> None:
    """A descriptor, a working directory that is unknown, and a path that is too long for one."""
    assert script_of("/usr/bin/bash", ["bash", "x"], "/", "/dev/fd/7") is None
    assert script_of("/usr/bin/bash", ["bash", "x"], "", None) == "/x"
    assert script_of("/usr/bin/bash", ["bash", "x" * 5000], "/", None) is None
