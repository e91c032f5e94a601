"""Actions of the tactics initial access, execution, persistence, and privilege escalation."""

from lanner.demo.act import (
    NOBODY,
    NOTHING,
    NUMBERS,
    OWN_FILE_SYSTEM,
    DemoAction,
    command,
    named,
    over,
    program,
    python,
    script,
)

_GIVE_CAPABILITY = (
    "import os, struct, tempfile; file = tempfile.NamedTemporaryFile(); "
    "os.setxattr(file.name, 'security.capability', struct.pack('<5I', 0x02000000, 1, 0, 0, 0))"
)

EXECUTION_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        "Change source of packages",
        "Notice",
        "Writes an empty file of that name in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/apt && echo > /etc/apt/sources.list"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "SSH server loads known bad library",
        "Critical",
        "Runs a copy of cat named sshd that reads an empty file with the library's name.",
        script(': > "$1/liblzma.so.5.6.0" && cp /bin/cat "$1/sshd" && "$1/sshd" "$1/liblzma.so.5.6.0"'),
    ),
    DemoAction(
        "Run program with netcat",
        "Warning",
        "Runs a copy of true named nc with arguments that would run a program.",
        named("true", "nc", "-e", "/bin/true", "192.0.2.1", "9"),
    ),
    DemoAction(
        "Program spawned by database",
        "Notice",
        "Runs a copy of sh named mysqld that starts true.",
        named("sh", "mysqld", "-c", "/bin/true; true"),
    ),
    DemoAction(
        "Tool spawned by server",
        "Warning",
        "Runs a copy of sh named nginx that starts id.",
        named("sh", "nginx", "-c", "id; true"),
    ),
    DemoAction(
        "Package build runs network tool",
        "Notice",
        "Runs a copy of sh named npm that asks curl for its version.",
        named("sh", "npm", "-c", "curl --version; true"),
    ),
    DemoAction(
        "System user runs program interactively",
        "Warning",
        "Runs id in a terminal as the user nobody.",
        python('import pty; pty.spawn(["/usr/bin/id"])', user=NOBODY),
        NOTHING,
    ),
    DemoAction(
        "Run transient service", "Notice", "Runs a copy of true named systemd-run.", named("true", "systemd-run")
    ),
    DemoAction(
        "Run program from temporary directory",
        "Notice",
        "Runs a copy of true in an empty /tmp that only the action sees.",
        over("/tmp", "cp /bin/true /tmp/demo && /tmp/demo"),  # noqa: S108  # a file system of its own
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Shell spawned by text tool",
        "Notice",
        "Starts a shell that reads nothing, from awk.",
        script("awk 'BEGIN { system(\"sh\") }'"),
        NOTHING,
    ),
    DemoAction(
        "Load BPF program",
        "Notice",
        "Loads a BPF program of two instructions that does nothing, attaches it nowhere, and ends.",
        program("load_bpf"),
        NOTHING,
    ),
    DemoAction(
        "Write scheduled job",
        "Warning",
        "Writes an empty job in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/cron.d && echo > /etc/cron.d/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Write system service",
        "Warning",
        "Creates an empty unit in an empty /etc that only the action sees.",
        over("/etc", "mkdir -p /etc/systemd/system && : > /etc/systemd/system/demo.service"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Change shell start-up file",
        "Notice",
        "Creates an empty file named .bashrc in its own directory.",
        script(': > "$1/.bashrc"'),
    ),
    DemoAction(
        "Write Python start-up hook",
        "Notice",
        "Creates an empty file named usercustomize.py in its own directory.",
        script(': > "$1/usercustomize.py"'),
    ),
    DemoAction(
        "Write account file",
        "Error",
        "Writes an empty file of that name in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/passwd"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Write login configuration",
        "Error",
        "Writes a file in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/pam.d && echo > /etc/pam.d/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Manage accounts",
        "Notice",
        "Creates a group in a copy of /etc that only the action sees.",
        script(
            'exec unshare --mount sh -c \'mount -t tmpfs none "$1" && mkdir "$1/upper" "$1/state" '
            '&& mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/state" none /etc '
            '&& groupadd lanner-demo\' sh "$1"'
        ),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Change kernel modules of host",
        "Notice",
        "Writes a file in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/modules"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Set trap of shell",
        "Notice",
        "Starts a shell that sets a trap for a signal that it never gets.",
        command("bash", "-c", 'trap "sh /nonexistent" USR1; true'),
        NOTHING,
    ),
    DemoAction(
        "Exploit known fault of privileged program",
        "Critical",
        "Runs a copy of true named sudoedit with the arguments of an exploit.",
        named("true", "sudoedit", "-s", "\\\\"),
    ),
    DemoAction(
        "Handle page faults without privileges",
        "Notice",
        "Creates a userfaultfd of user space only, as the user nobody, and closes it.",
        python(f"import ctypes; ctypes.CDLL(None).syscall({NUMBERS['userfaultfd']}, 1)", user=NOBODY),
        NOTHING,
    ),
    DemoAction(
        "Enter namespace of another process",
        "Notice",
        "Enters the network namespace that the action is in anyway.",
        script('nsenter --target "$$" --net true'),
    ),
    DemoAction(
        "Change program that kernel calls",
        "Critical",
        "Writes an ordinary file of that name in its own directory.",
        script('mkdir -p "$1/sys/kernel" && echo x > "$1/sys/kernel/core_pattern"'),
    ),
    DemoAction(
        "Set file capabilities",
        "Notice",
        "Gives an empty file that nobody can execute a capability.",
        python(_GIVE_CAPABILITY),
        "A file in the directory for temporary files, removed afterwards.",
    ),
)
