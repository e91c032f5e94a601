"""Actions on the host: those that need code of their own, simple ones, and those of stateful rules."""

import shutil
import tempfile
from pathlib import Path

from lanner.demo.act import (
    NOBODY,
    NOTHING,
    OWN_FILE_SYSTEM,
    DemoAction,
    DemoContext,
    DemoSkipped,
    command,
    copy_program,
    named,
    over,
    program,
    python,
    script,
)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the rule watches this directory
_NO_ADDRESS = 3  # exit code of the program in connect_from_shell without an address
_AS_OLD_SERVER = """
mount --bind "$1" /usr/sbin && exec /usr/sbin/nginx -c 'sleep 5.5; read line < /etc/shadow'
"""


def read_shadow_as_old_server(context: DemoContext) -> None:
    """Run as a server in its usual place, wait until it isn't new, and read the shadow file."""
    copy_program("sh", context.directory, "nginx")
    context.run("unshare", "--mount", "sh", "-c", _AS_OLD_SERVER, "demo", str(context.directory))


def run_from_shared_memory(context: DemoContext) -> None:
    """Execute a file below /dev/shm."""
    if not _SHARED_MEMORY.is_dir():
        raise DemoSkipped("there is no /dev/shm")
    with tempfile.TemporaryDirectory(prefix="lanner-demo-", dir=_SHARED_MEMORY) as directory:
        context.run(copy_program("true", Path(directory), "demo"))


def connect_from_shell(context: DemoContext) -> None:
    """Connect with bash itself."""
    if shutil.which("bash") is None:
        raise DemoSkipped("bash is not installed")
    if context.python("shell_connection") == _NO_ADDRESS:
        raise DemoSkipped("this machine has only a loopback address")


def write_below_binary_directory(context: DemoContext) -> None:
    """Create an empty file in a directory of system programs."""
    target = Path(tempfile.mktemp(prefix=".lanner-demo-", dir="/usr/bin"))  # noqa: S306 - another process creates it
    try:
        context.run("touch", str(target))
        if not target.exists():
            raise DemoSkipped("/usr/bin is not writable")
    finally:
        context.run("rm", "-f", str(target))


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


HOST_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        "Read sensitive file untrusted",
        "Warning",
        "Reads /etc/shadow with cat.",
        command("cat", "/etc/shadow"),
        NOTHING,
    ),
    DemoAction(
        "Read sensitive file trusted after startup",
        "Warning",
        "Runs a copy of sh, which only the action sees as /usr/sbin/nginx, waits for 5.5 s and reads /etc/shadow.",
        read_shadow_as_old_server,
        "An empty directory below /tmp, removed afterwards, and a file system that disappears with the action.",
    ),
    DemoAction(
        "Read sensitive file refused",
        "Notice",
        "Tries to read /etc/shadow with cat as the user nobody.",
        command("cat", "/etc/shadow", user=NOBODY),
        NOTHING,
    ),
    DemoAction(
        "Create link to sensitive file",
        "Warning",
        "Creates a symbolic link to /etc/shadow.",
        command("ln", "-s", "/etc/shadow", "{}/link"),
    ),
    DemoAction(
        "Search for private keys or passwords",
        "Warning",
        "Searches an empty directory for files named id_rsa with find.",
        command("find", "{}", "-name", "id_rsa"),
    ),
    DemoAction(
        "Run program from memory",
        "Critical",
        "Executes a copy of true that exists only in memory.",
        program("run_from_memory"),
        "Nothing: the memory is freed with the process.",
    ),
    DemoAction(
        "Run program from shared memory",
        "Warning",
        "Executes a copy of true below /dev/shm.",
        run_from_shared_memory,
        "A directory below /dev/shm, removed afterwards.",
    ),
    DemoAction(
        "Shell spawned by server",
        "Warning",
        "Runs a copy of sh named nginx that starts a shell.",
        named("sh", "nginx", "-c", "sh -c true; true"),
    ),
    DemoAction(
        "Outbound connection from shell",
        "Warning",
        "Makes bash connect to an address of this machine where the action listens.",
        connect_from_shell,
        "A TCP port, briefly; no packet leaves the machine.",
    ),
    DemoAction(
        "Redirect standard stream to network connection",
        "Warning",
        "Replaces a process's standard input with a connection over the loopback interface.",
        program("redirect"),
        "A TCP port of the loopback interface, briefly.",
    ),
    DemoAction(
        "Attach to process by ptrace",
        "Warning",
        "Attaches to a sleeping process that it started, and detaches.",
        program("attach"),
        "Only that process, which is then killed.",
    ),
    DemoAction(
        "Write below binary directory",
        "Error",
        "Creates an empty hidden file below /usr/bin.",
        write_below_binary_directory,
        "That file (/usr/bin/.lanner-demo-...), removed afterwards.",
    ),
    DemoAction(
        "Set setuid bit",
        "Notice",
        "Sets the setuid bit of an empty file that nobody can execute.",
        command("chmod", "u+s", "{}/empty", file="empty"),
    ),
    DemoAction(
        "Load kernel module",
        "Warning",
        "Requests an empty file to be loaded as a kernel module, which the kernel refuses.",
        load_empty_module,
    ),
    DemoAction(
        "Write SSH authorized keys",
        "Warning",
        "Creates an empty authorized_keys file where no SSH server reads it.",
        write_authorized_keys,
    ),
    DemoAction(
        "Clear log files",
        "Warning",
        "Truncates /var/log/auth.log on an empty file system that only the action sees.",
        over("/var/log", ": > /var/log/auth.log"),
        "Nothing: the machine's logs are unchanged, and the file system disappears with the action.",
    ),
    DemoAction(
        "Remove shell history",
        "Warning",
        "Removes an empty file named .bash_history.",
        command("rm", "{}/.bash_history", file=".bash_history"),
    ),
)


STATEFUL_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        "Many files refused",
        "Notice",
        "Tries to read forty empty files of root as a user without a name.",
        # By another user each time: who was refused before would be reported before.
        script(
            'cd "$1"; umask 77; touch $(seq 40); chmod 755 .; setpriv --reuid $((100000 + $$)) --clear-groups cat *'
        ),
    ),
    DemoAction(
        "Port scan",
        "Warning",
        "Tries thirty ports of the loopback interface.",
        python(
            'import socket\nfor port in range(20000, 20030):\n    socket.socket().connect_ex(("127.0.0.1", port))\n'
        ),
        NOTHING,
    ),
    DemoAction(
        "Network sweep",
        "Notice",
        "Tries one port of fifty addresses of the loopback interface.",
        python(
            'import socket\nfor last in range(1, 51):\n    socket.socket().connect_ex((f"127.0.1.{last}", 20000))\n'
        ),
        NOTHING,
    ),
    DemoAction(
        "Download piped to shell",
        "Notice",
        "Pipes the version of curl, which is no script that does anything, to a shell.",
        script("curl --version | sh -s"),
    ),
    DemoAction(
        "Decoded payload piped to shell",
        "Warning",
        "Pipes nothing through base64 to a shell.",
        script("echo | base64 -d | sh"),
    ),
    DemoAction(
        "Start service from new unit",
        "Notice",
        "Writes a unit in an empty /etc that only the action sees, and runs a copy of true named systemctl.",
        over(
            "/etc",
            "mkdir -p /etc/systemd/system && cd /etc/systemd/system && echo > demo.service && "
            "cp /bin/true /etc/systemctl && /etc/systemctl start demo",
        ),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Run unpacked program from temporary directory",
        "Notice",
        "Decodes nothing, and runs a copy of true in an empty /tmp that only the action sees.",
        over("/tmp", "echo | base64 -d && cp /bin/true /tmp/demo && /tmp/demo"),  # noqa: S108  # a file system of its own
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Many files removed",
        "Warning",
        "Removes empty files in an empty /var/log that only the action sees.",
        over("/var/log", "cd /var/log && touch $(seq 220) && rm -rf /var/log/*"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Secret read and sent",
        "Error",
        "Reads /etc/shadow, and then tries to connect to a documentation address with curl; nothing is sent.",
        # A session of its own: the rule counts by session, and other actions read secrets and connect, too.
        script(
            "setsid --wait sh -c 'cat /etc/shadow > /dev/null; curl --noproxy \"*\" --max-time 1 http://192.0.2.1/'"
        ),
    ),
    DemoAction(
        "Server writes program and it is run",
        "Critical",
        "Runs a copy of cp named nginx that writes a copy of true, and runs that.",
        script('cp /bin/cp "$1/nginx" && "$1/nginx" /bin/true "$1/demo" && "$1/demo"'),
    ),
    DemoAction(
        "Interactive reconnaissance",
        "Notice",
        "Runs ten programs that describe the system in one terminal.",
        python(
            'import pty; pty.spawn(["/bin/sh", "-c", "whoami; id; hostname; uname; who; ps; df; env; groups; lsblk"])'
        ),
        NOTHING,
    ),
)
