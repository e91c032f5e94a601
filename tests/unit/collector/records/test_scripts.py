import pytest

from collector.records.scripts import script_of


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
