"""Ordinary work of people and machines, which must raise no alert on a host."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from tests.live.containers import Docker
from tests.live.ordinary_host import OrdinaryHost
from tests.ports import free_port

MAKEFILE = """
all: program
program: main.o other.o
\tgcc -o $@ $^
%.o: %.c
\tgcc -O1 -c -o $@ $<
install: program
\tinstall -D program $(DESTDIR)/usr/local/bin/program
clean:
\trm -f program *.o
"""
DOCKERFILE = """
FROM {image}
RUN apt-get update && apt-get install -y --no-install-recommends {packages} && rm -rf /var/lib/apt/lists/* /var/log/*
RUN useradd --system --create-home worker && install -d -o worker /srv/app
COPY app.sh /srv/app/app.sh
RUN chmod 755 /srv/app/app.sh && echo 'worker:secret' | chpasswd
USER worker
CMD ["/srv/app/app.sh"]
"""


_IN_ROOT = """
import os, sys
os.chroot(sys.argv[1])
os.chdir("/")
system = ("passwd", "shadow", "init.d/x", "cron.d/job", "sudoers.d/admin", "pam.d/own")
system += ("ld.so.preload", "systemd/system/own.service")
for name in ("/usr/bin/emacs", *(f"/etc/{name}" for name in system)):
    open(f"{name}.new", "w").close()
    os.rename(f"{name}.new", name)
    open(name, "a").close()
os.symlink("/usr/bin/emacs", "/usr/bin/editor")
os.link("/usr/bin/emacs", "/usr/bin/emacs-1")
os.unlink("/usr/bin/emacs-1")
os.mkdir("/usr/bin/folder")
open("/etc/shadow").close()
"""


def _quietly(*command: str | Path, directory: Path, **environment: str) -> None:
    subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def use_git(directory: Path) -> None:
    """Create a repository, commit to it, clone it, inspect it."""
    work = directory / "work"
    work.mkdir()
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    _quietly("git", "init", "-q", directory=work)
    for number in range(3):
        (work / f"file{number}").write_text("text\n" * number)
        _quietly("git", "add", "-A", directory=work)
        _quietly("git", *name, "commit", "-qm", f"commit {number}", directory=work)
    _quietly("git", "init", "-q", "--bare", "--shared", "bare.git", directory=directory)
    _quietly("git", "push", "-q", "../bare.git", "HEAD:main", directory=work)
    _quietly("git", "clone", "-q", "-b", "main", "bare.git", "clone", directory=directory)
    _quietly("git", "log", "--stat", directory=directory / "clone")
    _quietly("git", "gc", "-q", directory=directory / "clone")


def use_make_and_gcc(directory: Path) -> None:
    """Compile, link, run and install a program."""
    project = directory / "project"
    project.mkdir()
    (project / "Makefile").write_text(MAKEFILE)
    (project / "main.c").write_text("int other(void); int main(void) { return other(); }\n")
    (project / "other.c").write_text("int other(void) { return 0; }\n")
    _quietly("make", "-j2", directory=project)
    _quietly("./program", directory=project)
    _quietly("make", "install", f"DESTDIR={directory}/destination", directory=project)
    _quietly("make", "clean", directory=project)


def use_pip(directory: Path) -> None:
    """Create a virtual environment and install a wheel with a command into it."""
    wheel = directory / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nothing.py", "def main():\n    print('nothing')\n")
        archive.writestr("nothing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n")
        archive.writestr(
            "nothing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("nothing-1.0.dist-info/entry_points.txt", "[console_scripts]\nnothing = nothing:main\n")
        archive.writestr("nothing-1.0.dist-info/RECORD", "")
    _quietly(sys.executable, "-m", "venv", "environment", directory=directory)
    pip = directory / "environment/bin/pip"
    _quietly(pip, "install", "--no-index", "--no-deps", wheel, directory=directory)
    _quietly(directory / "environment/bin/nothing", directory=directory)
    _quietly(pip, "uninstall", "-y", "nothing", directory=directory)


def use_tools(directory: Path) -> None:
    """List, pack, search, change modes and links."""
    _quietly("sh", "-c", "id; ps aux; ls -laR /etc; df; env; uname -a", directory=directory)
    _quietly(
        "sh",
        "-c",
        "tar cf - /usr/share/doc 2> /dev/null | gzip -1 > doc.tar.gz; tar tf doc.tar.gz",
        directory=directory,
    )
    _quietly(
        "sh",
        "-c",
        "find . -name '*.c'; grep -r password . || true; touch a; chmod 755 a; ln -s a b",
        directory=directory,
    )


def build_a_root(directory: Path) -> None:
    """Build a root directory as builders of images do, work in it after chroot, and copy it by cp and tar."""
    base = directory / "base"
    base.mkdir()
    given = "etc/pam.d etc/cron.daily etc/init.d etc/skel etc/systemd usr/lib/systemd/system"
    _quietly("sh", "-c", f"tar -C / -c {given} | tar -C base -x", directory=directory)
    for folder in ("etc/cron.d", "etc/sudoers.d", "usr/bin", "root/.ssh", "etc/ssh"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    _quietly(sys.executable, "-I", "-c", _IN_ROOT, base, directory=directory)
    _quietly("cp", "-a", base, "copy", directory=directory)
    _quietly("sh", "-c", "mkdir other; tar -C base -c . | tar -C other -x", directory=directory)


def log_in(host: OrdinaryHost, directory: Path) -> None:
    """Create a user, set a password, become the user, use sudo, log in by SSH, and remove the user."""
    host.run("useradd", "--create-home", "--shell", "/bin/bash", "alice")
    host.run("chpasswd", sent="alice:secret\n")
    host.run("su", "-", "alice", "-c", "id")
    rule = "echo 'alice ALL=(ALL) NOPASSWD: ALL' | EDITOR=tee visudo -f /etc/sudoers.d/alice"
    host.run("sh", "-c", f"{rule}; su alice -c 'sudo -n id'")
    host.run("passwd", "--status", "alice")
    host.run("chage", "--list", "alice")
    key = directory / "key"
    if not key.exists():
        _quietly("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key, directory=directory)
    # Put there by this process, which Lanner doesn't watch: a new key deserves an alert.
    home = host.root / "home/alice/.ssh"
    home.mkdir(exist_ok=True)
    (home / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
    host.run("chown", "-R", "alice:", "/home/alice/.ssh")
    port = free_port()
    (host.root / "run/sshd").mkdir(exist_ok=True)
    with host.daemon("/usr/sbin/sshd", "-D", "-p", str(port), "-o", "ListenAddress=127.0.0.1"):
        time.sleep(1)
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
        flags = [word for option in options for word in ("-o", option)]
        command = ["ssh", "-i", str(key), *flags, "-p", str(port), "alice@127.0.0.1", "id; sleep 0.2"]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )
        assert "alice" in done.stdout, done.stderr
    host.run("userdel", "--remove", "alice")


def keep_house(host: OrdinaryHost) -> None:
    """Run the nightly jobs: daily scripts, log rotation, account checks, package clean-up."""
    # apt's own job is left out: it sleeps for up to half an hour first.
    host.run("run-parts", "--regex", "^(dpkg|logrotate|man-db)$", "/etc/cron.daily")
    host.run("logrotate", "--force", "/etc/logrotate.conf")
    host.run("pwck", "--read-only")
    host.run("sh", "-c", "apt-get -y autoremove; apt-get clean; apt-cache policy cron; dpkg -l; dpkg --verify cron")
    host.run("apt-get", "install", "-y", "--reinstall", "sudo")


def build_and_run(docker: Docker, directory: Path, packages: str) -> None:
    """Build an image, run it, inspect it, run a process in it, copy from it, remove it."""
    context = directory / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(DOCKERFILE.format(image=docker.debian(), packages=packages))
    (context / "app.sh").write_text("#!/bin/sh\nid; cat /etc/hostname; sleep 0.2\n")
    built = docker.build(context, "lanner-tests/app:1")
    assert built.returncode == 0, built.stdout + built.stderr
    docker.run("lanner-tests/app:1")
    with docker.running("lanner-tests/app:1") as name:
        docker.exec(name, "sh", "-c", "id; ls /; cat /etc/passwd")
        docker.daemon.client("logs", name)
        docker.daemon.client("cp", f"{name}:/etc/passwd", str(directory / "passwd"))
        docker.daemon.client("cp", str(directory / "passwd"), f"{name}:/tmp/passwd")
        docker.daemon.client("commit", name, "lanner-tests/app:2")
    docker.daemon.client("image", "rm", "--force", "lanner-tests/app:2", "lanner-tests/app:1")
