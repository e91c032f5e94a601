"""Disguises that rules must see through, each tried on this kernel: names, scripts, links, mounts, terminals."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from schemas.alert import Alert
from tests.live.containers import Docker
from tests.live.debian_image import NoDebian
from tests.live.needs import lacking
from tests.live.watching import Watch

pytestmark = [pytest.mark.live, pytest.mark.containers]

NOBODY = 65534
UNTRUSTED = "Read sensitive file untrusted"
TERMINAL_SHELL = "Terminal shell in container"
EXPOSING_MOUNT = "Mount exposes system files"
RENAME_AND_FORK = """
import ctypes, os, pty
ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
if os.fork() == 0:
    {then}
    os._exit(0)
os.wait()
"""
READ = 'open("/etc/shadow").close()'
ENTER = 'ctypes.CDLL(None).setns(os.open("/proc/self/ns/net", os.O_RDONLY), 0)'
OPEN_TERMINAL = 'pty.spawn(["/bin/sh", "-c", ": renamed"])'
IN_LOCAL_DIRECTORY = """
mount -t tmpfs none /usr/local/bin && cp "$1" /usr/local/bin/sshd && /usr/local/bin/sshd /etc/shadow > /dev/null
"""


@pytest.fixture(scope="module")
def debian(docker: Docker) -> Iterator[str]:
    """Keep a container of a minimal Debian running, with this machine's programs, and yield its name."""
    try:
        image = docker.debian()
    except NoDebian as missing:
        lacking(str(missing))
    with docker.running(image, "--volume", "/usr/bin:/usr/bin:ro", "--volume", "/usr/lib:/usr/lib:ro") as name:
        yield name


def act(*command: str | Path) -> None:
    """Run a command without output."""
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)


def new_alert(watch: Watch, before: int, rule: str, **fields: str) -> Alert:
    """Return the first alert of a rule since a count of alerts, with given fields."""
    wanted = {name.replace("__", "."): value for name, value in fields.items()}.items()
    return watch.find(
        lambda alert: (
            alert in watch.alerts[before:] and alert.rule == rule and wanted <= dict(alert.output_fields).items()
        )
    )


class TestNames:
    @pytest.mark.parametrize("name", ["sshd", "nginx", "crond", "dpkg", "systemd"])
    def test_a_copy_of_cat_with_a_trusted_name_is_a_stranger(self, watch: Watch, tmp_path: Path, name: str) -> None:
        """Only the file in a directory of installed programs is trusted."""
        before, copy = len(watch.alerts), tmp_path / name
        shutil.copy("/bin/cat", copy)

        act(copy, "/etc/shadow")

        new_alert(watch, before, UNTRUSTED, proc__exepath=str(copy), proc__name=name)

    def test_a_copy_in_the_administrators_directory_is_a_stranger(self, watch: Watch) -> None:
        """What was put in /usr/local by hand is of no package."""
        before = len(watch.alerts)

        act("unshare", "--mount", "sh", "-c", IN_LOCAL_DIRECTORY, "copy", "/bin/cat")

        new_alert(watch, before, UNTRUSTED, proc__exepath="/usr/local/bin/sshd")

    @pytest.mark.parametrize("name", ["sshd", "nginx", "adduser"])
    def test_a_script_lends_its_name_to_no_interpreter(self, watch: Watch, tmp_path: Path, name: str) -> None:
        """The kernel names the process after the script and runs cat."""
        before, script = len(watch.alerts), tmp_path / name
        script.write_text("#!/bin/cat /etc/shadow\n")
        script.chmod(0o755)

        act(script)

        new_alert(watch, before, UNTRUSTED, proc__name=name, proc__exepath="/usr/bin/cat")

    @pytest.mark.parametrize("name", ["sshd", "nginx", "dpkg"])
    def test_a_process_that_renames_itself_and_forks_stays_what_it_is(self, watch: Watch, name: str) -> None:
        """The child has the name from its start."""
        before = len(watch.alerts)

        act(sys.executable, "-I", "-c", RENAME_AND_FORK.format(name=name, then=READ))

        new_alert(watch, before, UNTRUSTED, proc__name=name)

    def test_a_process_that_calls_itself_runc_enters_a_namespace(self, watch: Watch) -> None:
        """Only the runtime's own file, started by the runtime, is the runtime."""
        before = len(watch.alerts)

        act(sys.executable, "-I", "-c", RENAME_AND_FORK.format(name="runc:[0:PARENT]", then=ENTER))

        new_alert(watch, before, "Enter namespace of another process", proc__name="runc:[0:PARENT]")

    def test_a_trusted_scripts_path_as_another_programs_argument_proves_nothing(self, watch: Watch) -> None:
        """A script is trusted only if its interpreter runs it."""
        before = len(watch.alerts)

        act("cat", "/usr/sbin/adduser", "/etc/shadow")

        new_alert(watch, before, UNTRUSTED, proc__cmdline="cat /usr/sbin/adduser /etc/shadow")

    def test_an_ancestor_that_is_called_like_a_package_manager_excuses_nothing(
        self, watch: Watch, tmp_path: Path
    ) -> None:
        """The setuid bit may be set below dpkg itself."""
        before, copy, target = len(watch.alerts), tmp_path / "dpkg", tmp_path / "empty"
        shutil.copy("/bin/dash", copy)
        target.touch()

        act(copy, "-c", f"chmod u+s {target}; true")

        new_alert(watch, before, "Set setuid bit", proc__pname="dpkg")


class TestCodeOfOthers:
    """Whoever starts a trusted program can make it run other code; then it is trusted no more."""

    @pytest.mark.parametrize(
        ("variable", "file", "code", "command"),
        [
            ("BASH_ENV", "x.sh", "read x < /etc/shadow; exit", ("/bin/bash", "/usr/sbin/debootstrap")),
            ("PERL5OPT", "x.pm", 'open F, "/etc/shadow"; exit', ("/usr/sbin/adduser", "--version")),
            ("PYTHONPATH", "sitecustomize.py", READ, ("/usr/bin/python3", "/usr/bin/unattended-upgrade")),
        ],
    )
    def test_an_interpreter_runs_a_file_of_somebody_else_before_the_script(
        self, watch: Watch, tmp_path: Path, variable: str, file: str, code: str, command: tuple[str, ...]
    ) -> None:
        """Neither a script's path as an argument nor the script itself is trusted."""
        before, path = len(watch.alerts), tmp_path / file
        path.write_text(f"{code}\n")
        value = {"BASH_ENV": str(path), "PERL5OPT": f"-I{tmp_path} -Mx", "PYTHONPATH": str(tmp_path)}[variable]

        act("env", f"{variable}={value}", *command)

        line = " ".join((Path(command[0]).name, *command[1:]))
        new_alert(watch, before, UNTRUSTED, **({} if "adduser" in line else {"proc__cmdline": line}))

    def test_a_library_of_somebody_else_is_loaded_into_a_program(self, watch: Watch, tmp_path: Path) -> None:
        """Without it, the program reads the same file unnoticed."""
        before, library = len(watch.alerts), tmp_path / "x.so"
        subprocess.run(["gcc", "-shared", "-x", "c", "-o", library, "-"], input=b"int x;", check=True)

        act("passwd", "--status", "root")
        act("env", f"LD_PRELOAD={library}", "passwd", "-S", "root")

        new_alert(watch, before, UNTRUSTED, proc__cmdline="passwd -S root")
        lines = {alert.output_fields["proc.cmdline"] for alert in watch.alerts[before:] if alert.rule == UNTRUSTED}
        # Other tests read the file, too.
        assert {line for line in lines if line.startswith("passwd")} == {"passwd -S root"}

    def test_a_user_has_a_package_manager_run_a_program(self, watch: Watch) -> None:
        """Only what root installs may set the bit."""
        with TemporaryDirectory() as name:
            before, target = len(watch.alerts), Path(name, "empty")
            target.touch()
            for path in (target.parent, target):
                os.chown(path, NOBODY, NOBODY)

            as_nobody = ("setpriv", f"--reuid={NOBODY}", "--clear-groups", "env", f"PAGER=chmod u+s {target}; cat")
            act(*as_nobody, "script", "--quiet", "--command", "dpkg --list dash", "/dev/null")

            new_alert(watch, before, "Set setuid bit", proc__cmdline=f"chmod u+s {target}")


class TestMounts:
    """The read itself has a path that no rule knows; the mount that leads to it is reported."""

    @pytest.mark.parametrize("source", ["/etc", "/etc/shadow"])
    def test_a_second_path_in_a_mount_namespace_of_its_own(self, watch: Watch, tmp_path: Path, source: str) -> None:
        """Nobody else sees the mount."""
        before, target = len(watch.alerts), mount_point(tmp_path, source)

        act("unshare", "--mount", "mount", "--bind", source, target)

        new_alert(watch, before, EXPOSING_MOUNT, fs__path__source=source, fs__path__target=str(target))

    def test_a_second_path_in_a_user_namespace(self, watch: Watch, tmp_path: Path) -> None:
        """Any user may mount in one."""
        before, target = len(watch.alerts), mount_point(tmp_path, "/etc/shadow")

        act("unshare", "--user", "--map-root-user", "--mount", "mount", "--bind", "/etc/shadow", target)

        new_alert(watch, before, EXPOSING_MOUNT, fs__path__target=str(target))

    def test_an_overlay_over_the_settings(self, watch: Watch, tmp_path: Path) -> None:
        """Its lower layer is /etc."""
        before, target, empty = len(watch.alerts), mount_point(tmp_path, "/etc"), tmp_path / "empty"
        empty.mkdir()

        act("unshare", "--mount", "mount", "-t", "overlay", "-o", f"lowerdir=/etc:{empty}", "overlay", target)

        new_alert(watch, before, EXPOSING_MOUNT, evt__arg__type="overlay", fs__path__target=str(target))


def mount_point(folder: Path, source: str) -> Path:
    """Return something of the same type to mount over."""
    target = folder / "target"
    if Path(source).is_dir():
        target.mkdir()
    else:
        target.touch()
    return target


class TestTerminals:
    def test_a_shell_through_a_link(self, watch: Watch, docker: Docker, debian: str) -> None:
        """The link's name is the process's."""
        before = len(watch.alerts)

        docker.exec(debian, "sh", "-c", "ln -s /bin/bash /tmp/link")
        docker.exec(debian, "/tmp/link", "-c", ": link", tty=True)

        new_alert(watch, before, TERMINAL_SHELL, proc__name="link")

    def test_a_shell_through_the_dynamic_loader(self, watch: Watch, docker: Docker, debian: str) -> None:
        """The process is called after the loader."""
        before = len(watch.alerts)

        docker.exec(debian, "/lib64/ld-linux-x86-64.so.2", "/bin/bash", "-c", ": loader", tty=True)

        new_alert(watch, before, TERMINAL_SHELL, proc__cmdline="ld-linux-x86-64 /bin/bash -c : loader")

    def test_a_copied_shell(self, watch: Watch, docker: Docker, debian: str) -> None:
        """A file that isn't of the image is interactive."""
        before = len(watch.alerts)

        docker.exec(debian, "sh", "-c", "cp /bin/bash /tmp/copied")
        docker.exec(debian, "/tmp/copied", "-c", ": copied", tty=True)

        new_alert(watch, before, TERMINAL_SHELL, proc__name="copied")

    def test_a_terminal_that_python_opens_under_a_shells_name(self, watch: Watch, docker: Docker, debian: str) -> None:
        """What a shell starts isn't reported, but only a shell's file makes one."""
        before = len(watch.alerts)

        docker.exec(debian, "python3", "-c", RENAME_AND_FORK.format(name="bash", then=OPEN_TERMINAL))

        new_alert(watch, before, TERMINAL_SHELL, proc__name="sh", proc__pname="bash")

    @pytest.mark.parametrize("tty", [False, True])
    def test_a_terminal_that_python_opens(self, watch: Watch, docker: Docker, debian: str, tty: bool) -> None:
        """The shell's parent is Python, and the runtime gave it no terminal or another one."""
        before = len(watch.alerts)

        docker.exec(debian, "python3", "-c", "import pty; pty.spawn(['/bin/sh', '-c', ': pty'])", tty=tty)

        new_alert(watch, before, TERMINAL_SHELL, proc__name="sh", proc__pname="python3")
