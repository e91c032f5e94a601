"""Acts on the machine itself."""

import shutil
import tempfile
from pathlib import Path

from lanner.demo.act import DemoAction, DemoContext, DemoSkipped

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is the place that the rule watches
_NOBODY = 65534
_NO_ADDRESS = 3  # the exit code by which programs/shell_connection.py says so
_OWN_DIRECTORY = "An empty directory of its own below /tmp, removed afterwards."
_NOTHING = "Nothing: what is read is thrown away."


def _copy_program(name: str, directory: Path, copy: str) -> str:
    """Copy a program of this machine under another name and give the copy's path."""
    original = shutil.which(name)
    if original is None:
        raise DemoSkipped(f"{name} is not installed")
    target = directory / copy
    shutil.copy(original, target)
    return str(target)


def read_shadow(context: DemoContext) -> None:
    """Read the account file by a program that isn't trusted with it."""
    context.run("cat", "/etc/shadow")


def read_shadow_as_old_server(context: DemoContext) -> None:
    """Be a server by name, wait until no longer new, and read the account file."""
    server = _copy_program("sh", context.directory, "nginx")
    context.run(server, "-c", "sleep 5.5; read line < /etc/shadow")


def read_shadow_without_rights(context: DemoContext) -> None:
    """Try to read the account file as a user who may not."""
    context.run("cat", "/etc/shadow", user=_NOBODY)


def link_to_shadow(context: DemoContext) -> None:
    """Make a symbolic link to the account file."""
    context.run("ln", "-s", "/etc/shadow", str(context.directory / "link"))


def search_private_keys(context: DemoContext) -> None:
    """Look for private keys in an empty directory."""
    context.run("find", str(context.directory), "-name", "id_rsa")


def run_from_memory(context: DemoContext) -> None:
    """Execute an anonymous file."""
    context.python("run_from_memory")


def run_from_shared_memory(context: DemoContext) -> None:
    """Execute a file below /dev/shm."""
    if not _SHARED_MEMORY.is_dir():
        raise DemoSkipped("there is no /dev/shm")
    with tempfile.TemporaryDirectory(prefix="lanner-demo-", dir=_SHARED_MEMORY) as directory:
        context.run(_copy_program("true", Path(directory), "demo"))


def let_server_spawn_shell(context: DemoContext) -> None:
    """Be a server by name and start a shell."""
    server = _copy_program("sh", context.directory, "nginx")
    context.run(server, "-c", "sh -c true; true")


def connect_from_shell(context: DemoContext) -> None:
    """Let bash itself open a connection."""
    if shutil.which("bash") is None:
        raise DemoSkipped("bash is not installed")
    if context.python("shell_connection") == _NO_ADDRESS:
        raise DemoSkipped("this machine has no address but the loopback one")


def redirect_to_connection(context: DemoContext) -> None:
    """Replace standard input by a connection."""
    context.python("redirect")


def attach_to_process(context: DemoContext) -> None:
    """Attach to a process by ptrace."""
    context.python("attach")


def write_below_binary_directory(context: DemoContext) -> None:
    """Make an empty file in a directory of system programs."""
    target = Path(tempfile.mktemp(prefix=".lanner-demo-", dir="/usr/bin"))  # noqa: S306 - another process makes it
    try:
        context.run("touch", str(target))
        if not target.exists():
            raise DemoSkipped("/usr/bin can't be written to")
    finally:
        target.unlink(missing_ok=True)


def set_setuid_bit(context: DemoContext) -> None:
    """Set the bit on an empty file."""
    target = context.directory / "empty"
    target.touch()
    context.run("chmod", "u+s", str(target))


def load_empty_module(context: DemoContext) -> None:
    """Ask for an empty file to be loaded as a kernel module."""
    module = context.directory / "empty.ko"
    module.touch()
    context.python("load_module", str(module))


def write_authorized_keys(context: DemoContext) -> None:
    """Write a file of the name that sshd reads, in a directory that it doesn't."""
    directory = context.directory / ".ssh"
    directory.mkdir()
    context.run("touch", str(directory / "authorized_keys"))


def clear_log_file(context: DemoContext) -> None:
    """Empty a log file that only the act's own view of the file system has."""
    context.run("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /var/log && : > /var/log/auth.log")


def remove_shell_history(context: DemoContext) -> None:
    """Remove an empty file of that name."""
    history = context.directory / ".bash_history"
    history.touch()
    context.run("rm", str(history))


HOST_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        rule="Read sensitive file untrusted",
        priority="Warning",
        does="Reads /etc/shadow with cat.",
        touches=_NOTHING,
        run=read_shadow,
    ),
    DemoAction(
        rule="Read sensitive file trusted after startup",
        priority="Warning",
        does="Runs a copy of sh called nginx that waits for 5.5 s and then reads /etc/shadow.",
        touches=_OWN_DIRECTORY,
        run=read_shadow_as_old_server,
    ),
    DemoAction(
        rule="Read sensitive file refused",
        priority="Notice",
        does="Tries to read /etc/shadow with cat as the user nobody.",
        touches=_NOTHING,
        run=read_shadow_without_rights,
    ),
    DemoAction(
        rule="Create link to sensitive file",
        priority="Warning",
        does="Makes a symbolic link to /etc/shadow.",
        touches=_OWN_DIRECTORY,
        run=link_to_shadow,
    ),
    DemoAction(
        rule="Search for private keys or passwords",
        priority="Warning",
        does="Looks with find for files called id_rsa, in an empty directory.",
        touches=_OWN_DIRECTORY,
        run=search_private_keys,
    ),
    DemoAction(
        rule="Run program from memory",
        priority="Critical",
        does="Executes a copy of true that exists in memory only.",
        touches="Nothing: the memory goes with the process.",
        run=run_from_memory,
    ),
    DemoAction(
        rule="Run program from shared memory",
        priority="Warning",
        does="Executes a copy of true below /dev/shm.",
        touches="A directory below /dev/shm, removed afterwards.",
        run=run_from_shared_memory,
    ),
    DemoAction(
        rule="Shell spawned by server",
        priority="Warning",
        does="Runs a copy of sh called nginx that starts a shell.",
        touches=_OWN_DIRECTORY,
        run=let_server_spawn_shell,
    ),
    DemoAction(
        rule="Outbound connection from shell",
        priority="Warning",
        does="Lets bash connect to an address of this machine on which the act listens.",
        touches="A TCP port for a moment; no packet leaves the machine.",
        run=connect_from_shell,
    ),
    DemoAction(
        rule="Redirect standard stream to network connection",
        priority="Warning",
        does="Puts a connection over the loopback interface in the place of a process's standard input.",
        touches="A TCP port of the loopback interface for a moment.",
        run=redirect_to_connection,
    ),
    DemoAction(
        rule="Attach to process by ptrace",
        priority="Warning",
        does="Attaches to a sleeping process of its own and lets go of it.",
        touches="Nothing but that process, which is ended.",
        run=attach_to_process,
    ),
    DemoAction(
        rule="Write below binary directory",
        priority="Error",
        does="Makes an empty hidden file below /usr/bin.",
        touches="That file (/usr/bin/.lanner-demo-...), removed afterwards.",
        run=write_below_binary_directory,
    ),
    DemoAction(
        rule="Set setuid bit",
        priority="Notice",
        does="Sets the setuid bit of an empty file that nobody can execute.",
        touches=_OWN_DIRECTORY,
        run=set_setuid_bit,
    ),
    DemoAction(
        rule="Load kernel module",
        priority="Warning",
        does="Asks the kernel to load an empty file as a module, which it refuses.",
        touches=_OWN_DIRECTORY,
        run=load_empty_module,
    ),
    DemoAction(
        rule="Write SSH authorized keys",
        priority="Warning",
        does="Makes an empty authorized_keys file where no SSH server looks.",
        touches=_OWN_DIRECTORY,
        run=write_authorized_keys,
    ),
    DemoAction(
        rule="Clear log files",
        priority="Warning",
        does="Empties /var/log/auth.log on an empty file system that only the act sees.",
        touches="Nothing: the machine's logs stay as they are, and that file system goes with the act.",
        run=clear_log_file,
    ),
    DemoAction(
        rule="Remove shell history",
        priority="Warning",
        does="Removes an empty file called .bash_history.",
        touches=_OWN_DIRECTORY,
        run=remove_shell_history,
    ),
)
