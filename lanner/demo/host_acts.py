"""Actions on the host."""

import shutil
import tempfile
from pathlib import Path

from lanner.demo.act import DemoAction, DemoContext, DemoSkipped, copy_program

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the rule watches this directory
_NOBODY = 65534
_NO_ADDRESS = 3  # exit code of the program in connect_from_shell without an address
_AS_OLD_SERVER = """
mount --bind "$1" /usr/sbin && exec /usr/sbin/nginx -c 'sleep 5.5; read line < /etc/shadow'
"""
_OWN_DIRECTORY = "An empty directory below /tmp, removed afterwards."
_NOTHING = "Nothing: the output is discarded."


def read_shadow(context: DemoContext) -> None:
    """Read the shadow file with a program that isn't trusted to."""
    context.run("cat", "/etc/shadow")


def read_shadow_as_old_server(context: DemoContext) -> None:
    """Run as a server in its usual place, wait until it isn't new, and read the shadow file."""
    copy_program("sh", context.directory, "nginx")
    context.run("unshare", "--mount", "sh", "-c", _AS_OLD_SERVER, "demo", str(context.directory))


def read_shadow_without_rights(context: DemoContext) -> None:
    """Try to read the shadow file without permission."""
    context.run("cat", "/etc/shadow", user=_NOBODY)


def link_to_shadow(context: DemoContext) -> None:
    """Create a symbolic link to the shadow file."""
    context.run("ln", "-s", "/etc/shadow", str(context.directory / "link"))


def search_private_keys(context: DemoContext) -> None:
    """Search an empty directory for private keys."""
    context.run("find", str(context.directory), "-name", "id_rsa")


def run_from_memory(context: DemoContext) -> None:
    """Execute an anonymous file."""
    context.python("run_from_memory")


def run_from_shared_memory(context: DemoContext) -> None:
    """Execute a file below /dev/shm."""
    if not _SHARED_MEMORY.is_dir():
        raise DemoSkipped("there is no /dev/shm")
    with tempfile.TemporaryDirectory(prefix="lanner-demo-", dir=_SHARED_MEMORY) as directory:
        context.run(copy_program("true", Path(directory), "demo"))


def let_server_spawn_shell(context: DemoContext) -> None:
    """Start a shell from a server by name."""
    server = copy_program("sh", context.directory, "nginx")
    context.run(server, "-c", "sh -c true; true")


def connect_from_shell(context: DemoContext) -> None:
    """Connect with bash itself."""
    if shutil.which("bash") is None:
        raise DemoSkipped("bash is not installed")
    if context.python("shell_connection") == _NO_ADDRESS:
        raise DemoSkipped("this machine has only a loopback address")


def redirect_to_connection(context: DemoContext) -> None:
    """Replace standard input with a connection."""
    context.python("redirect")


def attach_to_process(context: DemoContext) -> None:
    """Attach to a process with ptrace."""
    context.python("attach")


def write_below_binary_directory(context: DemoContext) -> None:
    """Create an empty file in a directory of system programs."""
    target = Path(tempfile.mktemp(prefix=".lanner-demo-", dir="/usr/bin"))  # noqa: S306 - another process creates it
    try:
        context.run("touch", str(target))
        if not target.exists():
            raise DemoSkipped("/usr/bin is not writable")
    finally:
        context.run("rm", "-f", str(target))


def set_setuid_bit(context: DemoContext) -> None:
    """Set the setuid bit on an empty file."""
    target = context.directory / "empty"
    target.touch()
    context.run("chmod", "u+s", str(target))


def load_empty_module(context: DemoContext) -> None:
    """Request an empty file to be loaded as a kernel module."""
    module = context.directory / "empty.ko"
    module.touch()
    context.python("load_module", str(module))


def write_authorized_keys(context: DemoContext) -> None:
    """Create a file with the name that sshd reads, in a directory that it doesn't read."""
    directory = context.directory / ".ssh"
    directory.mkdir()
    context.run("touch", str(directory / "authorized_keys"))


def clear_log_file(context: DemoContext) -> None:
    """Truncate a log file in a mount namespace of its own."""
    context.run("unshare", "--mount", "sh", "-c", "mount -t tmpfs none /var/log && : > /var/log/auth.log")


def remove_shell_history(context: DemoContext) -> None:
    """Remove an empty file named like a shell history."""
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
        does="Runs a copy of sh, which only the action sees as /usr/sbin/nginx, waits for 5.5 s and reads /etc/shadow.",
        touches="An empty directory below /tmp, removed afterwards, and a file system that disappears with the action.",
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
        does="Creates a symbolic link to /etc/shadow.",
        touches=_OWN_DIRECTORY,
        run=link_to_shadow,
    ),
    DemoAction(
        rule="Search for private keys or passwords",
        priority="Warning",
        does="Searches an empty directory for files named id_rsa with find.",
        touches=_OWN_DIRECTORY,
        run=search_private_keys,
    ),
    DemoAction(
        rule="Run program from memory",
        priority="Critical",
        does="Executes a copy of true that exists only in memory.",
        touches="Nothing: the memory is freed with the process.",
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
        does="Runs a copy of sh named nginx that starts a shell.",
        touches=_OWN_DIRECTORY,
        run=let_server_spawn_shell,
    ),
    DemoAction(
        rule="Outbound connection from shell",
        priority="Warning",
        does="Makes bash connect to an address of this machine where the action listens.",
        touches="A TCP port, briefly; no packet leaves the machine.",
        run=connect_from_shell,
    ),
    DemoAction(
        rule="Redirect standard stream to network connection",
        priority="Warning",
        does="Replaces a process's standard input with a connection over the loopback interface.",
        touches="A TCP port of the loopback interface, briefly.",
        run=redirect_to_connection,
    ),
    DemoAction(
        rule="Attach to process by ptrace",
        priority="Warning",
        does="Attaches to a sleeping process that it started, and detaches.",
        touches="Only that process, which is then killed.",
        run=attach_to_process,
    ),
    DemoAction(
        rule="Write below binary directory",
        priority="Error",
        does="Creates an empty hidden file below /usr/bin.",
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
        does="Requests an empty file to be loaded as a kernel module, which the kernel refuses.",
        touches=_OWN_DIRECTORY,
        run=load_empty_module,
    ),
    DemoAction(
        rule="Write SSH authorized keys",
        priority="Warning",
        does="Creates an empty authorized_keys file where no SSH server reads it.",
        touches=_OWN_DIRECTORY,
        run=write_authorized_keys,
    ),
    DemoAction(
        rule="Clear log files",
        priority="Warning",
        does="Truncates /var/log/auth.log on an empty file system that only the action sees.",
        touches="Nothing: the machine's logs are unchanged, and the file system disappears with the action.",
        run=clear_log_file,
    ),
    DemoAction(
        rule="Remove shell history",
        priority="Warning",
        does="Removes an empty file named .bash_history.",
        touches=_OWN_DIRECTORY,
        run=remove_shell_history,
    ),
)
