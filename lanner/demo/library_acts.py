"""Actions on the host for rules on one event, each a command in a table."""

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
_SET_ATTRIBUTES = (
    "import fcntl, tempfile; file = tempfile.NamedTemporaryFile(); "
    "fcntl.ioctl(file, 0x40086602, fcntl.ioctl(file, 0x80086601, bytes(8)))"
)

LIBRARY_HOST_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        "Read private key",
        "Warning",
        "Reads an empty file named id_rsa in a directory named .ssh.",
        script('mkdir "$1/.ssh" && : > "$1/.ssh/id_rsa" && cat "$1/.ssh/id_rsa"'),
    ),
    DemoAction(
        "Read cloud credentials",
        "Warning",
        "Reads an empty file named credentials in a directory named .aws.",
        script('mkdir "$1/.aws" && : > "$1/.aws/credentials" && cat "$1/.aws/credentials"'),
    ),
    DemoAction(
        "Search for cloud credentials",
        "Warning",
        "Searches an empty directory for a file of AWS with find.",
        script('find "$1" -path "*/.aws/credentials"'),
    ),
    DemoAction(
        "Read stored password",
        "Notice",
        "Reads an empty file named .pgpass.",
        script(': > "$1/.pgpass" && cat "$1/.pgpass"'),
    ),
    DemoAction(
        "Copy list of accounts", "Notice", "Prints /etc/passwd into nothing.", script("cat /etc/passwd"), NOTHING
    ),
    DemoAction(
        "Query cloud metadata with tool",
        "Notice",
        "Runs a copy of true named curl with the address as its argument.",
        named("true", "curl", "http://169.254.169.254/"),
    ),
    DemoAction(
        "Open packet socket",
        "Notice",
        "Opens a socket for packets, and closes it.",
        python("import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()"),
        NOTHING,
    ),
    DemoAction(
        "Connect with network tool to unusual port",
        "Notice",
        "Runs a copy of perl under the name nc, which tries to connect to a documentation address.",
        named("perl", "nc", "-e", 'socket(my $s, 2, 2049, 6); connect($s, pack("S n C4 x8", 2, 4444, 192, 0, 2, 1))'),
    ),
    DemoAction(
        "Open tunnel",
        "Notice",
        "Runs a copy of true named autossh with the arguments of a proxy.",
        named("true", "autossh", "-N", "-D", "1080", "192.0.2.1"),
    ),
    DemoAction(
        "Listen with tool or one-line program",
        "Notice",
        "Listens for a moment on a free port of this machine's own address.",
        python('import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()'),
        NOTHING,
    ),
    DemoAction(
        "Upload file with web client",
        "Notice",
        "Runs a copy of true named curl with the arguments of an upload.",
        named("true", "curl", "-T", "/dev/null", "http://192.0.2.1/"),
    ),
    DemoAction(
        "Use archive with password",
        "Notice",
        "Runs a copy of true named zip with a password as its argument.",
        named("true", "zip", "-P", "demo", "demo.zip"),
    ),
    DemoAction(
        "Many failed logins",
        "Notice",
        "Runs su five times as nobody, with an empty password, and a log of failed logins that only the action sees.",
        over(
            "/var/log",
            "touch /var/log/btmp && for _ in 1 2 3 4 5; do echo | setpriv --reuid=65534 --regid=65534 --clear-groups "
            "su root -c true & done; wait",
        ),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Passwords tried with sudo",
        "Notice",
        "Runs a copy of true named sudo four times, with -S.",
        script('cp /bin/true "$1/sudo" && for i in 1 2 3 4; do "$1/sudo" -S true; done'),
    ),
    DemoAction(
        "Many names looked up",
        "Notice",
        "Runs a copy of true named dig with eight names.",
        script('cp /bin/true "$1/dig" && for i in a b c d e f g h; do "$1/dig" "$i.invalid"; done'),
    ),
    DemoAction(
        "Ping sweep",
        "Notice",
        "Runs a copy of true named ping with twenty documentation addresses.",
        script('cp /bin/true "$1/ping" && for i in $(seq 20); do "$1/ping" "192.0.2.$i"; done'),
    ),
    DemoAction(
        "Search for setuid programs",
        "Notice",
        "Searches an empty directory for setuid programs with find.",
        script('find "$1" -perm -4000'),
    ),
    DemoAction(
        "Watch opened files by fanotify",
        "Warning",
        "Creates a fanotify group that watches nothing, and closes it.",
        python(f"import ctypes, os; os.close(ctypes.CDLL(None).syscall({NUMBERS['fanotify_init']}, 1, 0))"),
        NOTHING,
    ),
    DemoAction(
        "Access memory of another process",
        "Warning",
        "Opens the memory of a sleeping process that it started, and reads nothing.",
        script('sleep 2 & head -c 0 "/proc/$!/mem"; kill $!'),
    ),
    DemoAction(
        "Reach sensitive file by path traversal",
        "Warning",
        "Reads /etc/passwd by a path with two detours.",
        script("grep -c root /usr/../etc/../etc/passwd"),
    ),
    DemoAction(
        "Mount exposes system files",
        "Warning",
        "Mounts /etc at an empty directory, where only the action sees it.",
        script('unshare --mount mount --bind /etc "$1"'),
    ),
    DemoAction("Run network scanner or sniffer", "Notice", "Runs a copy of true named nmap.", named("true", "nmap")),
    DemoAction(
        "Run program with netcat",
        "Warning",
        "Runs a copy of true named nc with arguments that would run a program.",
        named("true", "nc", "-e", "/bin/true", "192.0.2.1", "9"),
    ),
    DemoAction(
        "Connect with SSH to unusual port",
        "Notice",
        "Runs a copy of perl under the name ssh, which tries to connect to a documentation address.",
        named("perl", "ssh", "-e", 'socket(my $s, 2, 2049, 6); connect($s, pack("S n C4 x8", 2, 443, 192, 0, 2, 1))'),
    ),
    DemoAction(
        "Network connection of system tool",
        "Warning",
        "Runs a copy of perl under the name sleep, which tries to connect to a documentation address.",
        named(
            "perl", "sleep", "-e", 'socket(my $s, 2, 2049, 6); connect($s, pack("S n C4 x8", 2, 4444, 192, 0, 2, 1))'
        ),
    ),
    DemoAction(
        "Network connection of interpreter",
        "Notice",
        "Tries to connect to a documentation address with Python.",
        python('import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(("192.0.2.1", 9))'),
        NOTHING,
    ),
    DemoAction(
        "Run program from hidden temporary directory",
        "Warning",
        "Runs a copy of true in a hidden directory below /tmp.",
        script('mkdir "$1/.hidden" && cp /bin/true "$1/.hidden/demo" && "$1/.hidden/demo"'),
    ),
    DemoAction(
        "Set system clock",
        "Warning",
        "Tries to set the clock as nobody, who may not.",
        python("import time; time.clock_settime(0, 0)", user=NOBODY),
        NOTHING,
    ),
    DemoAction(
        "Switch off swap",
        "Notice",
        "Tries to switch off swap on a file that doesn't exist as nobody, who may not.",
        python('import ctypes; ctypes.CDLL(None).swapoff(b"/nonexistent")', user=NOBODY),
        NOTHING,
    ),
    DemoAction(
        "Take name of kernel thread",
        "Warning",
        "Runs Python, which calls itself kworker/0:1.",
        python('import ctypes; ctypes.CDLL(None).prctl(15, b"kworker/0:1")'),
        NOTHING,
    ),
    DemoAction(
        "Change file attributes",
        "Notice",
        "Sets the attributes of an empty file to those that it has.",
        python(_SET_ATTRIBUTES),
        NOTHING,
    ),
    DemoAction(
        "Set file times back",
        "Notice",
        "Makes an empty file look as if it had been written in 2001.",
        script('touch "$1/demo" && touch -d 2001-01-01 "$1/demo"'),
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
        "Run cryptocurrency miner",
        "Critical",
        "Runs true with the address of a pool that doesn't exist as its argument.",
        script("/bin/true stratum+tcp://pool.invalid:3333"),
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
        "Load BPF program",
        "Notice",
        "Loads a BPF program of two instructions that does nothing, attaches it nowhere, and ends.",
        program("load_bpf"),
        NOTHING,
    ),
    DemoAction(
        "Write preload configuration",
        "Error",
        "Writes that file, empty, in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/ld.so.preload"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Set file capabilities",
        "Notice",
        "Gives an empty file that nobody can execute a capability.",
        python(_GIVE_CAPABILITY),
        "A file in the directory for temporary files, removed afterwards.",
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
        "Read shell start-up file",
        "Informational",
        "Reads an empty file named .bashrc in its own directory.",
        script(': > "$1/.bashrc" && cat "$1/.bashrc"'),
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
        "Read login configuration",
        "Informational",
        "Reads a file in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/pam.d && echo > /etc/pam.d/demo && cat /etc/pam.d/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Change source of packages",
        "Notice",
        "Writes an empty file of that name in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/apt && echo > /etc/apt/sources.list"),
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
        "Create file below dev",
        "Warning",
        "Creates an empty file in an empty /dev that only the action sees.",
        over("/dev", "> /dev/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Change directory of system programs",
        "Error",
        "Renames an empty file in an empty /usr/sbin that only the action sees.",
        over("/usr/sbin", "> /usr/sbin/demo && mv /usr/sbin/demo /usr/sbin/demo2"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Create hidden file", "Notice", "Creates an empty hidden file in its own directory.", script(': > "$1/.hidden"')
    ),
    DemoAction(
        "Stop security tool", "Warning", "Runs a copy of true named setenforce.", named("true", "setenforce", "0")
    ),
    DemoAction(
        "Change configuration of security tool",
        "Warning",
        "Writes a file in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/audit && echo > /etc/audit/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Stop service", "Notice", "Runs a copy of true named systemctl.", named("true", "systemctl", "stop", "demo")
    ),
    DemoAction(
        "Run transient service", "Notice", "Runs a copy of true named systemd-run.", named("true", "systemd-run")
    ),
    DemoAction(
        "Run system program from writable directory", "Notice", "Runs a copy of true named sshd.", named("true", "sshd")
    ),
    DemoAction(
        "Run program with extension of document",
        "Warning",
        "Runs a copy of true named report.pdf.run.",
        named("true", "report.pdf.run"),
    ),
    DemoAction(
        "Run program from temporary directory",
        "Notice",
        "Runs a copy of true in an empty /tmp that only the action sees.",
        over("/tmp", "cp /bin/true /tmp/demo && /tmp/demo"),  # noqa: S108  # a file system of its own
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Create hidden file in temporary directory",
        "Notice",
        "Creates a hidden directory in an empty /tmp that only the action sees.",
        over("/tmp", "mkdir /tmp/.demo"),  # noqa: S108  # a file system of its own
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Change mailbox",
        "Notice",
        "Writes a file in an empty /var/mail that only the action sees.",
        over("/var/mail", ": > /var/mail/demo"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Load library from temporary directory",
        "Notice",
        "Names an empty library in an empty /tmp that only the action sees in LD_PRELOAD.",
        over("/tmp", ": > /tmp/demo.so && LD_PRELOAD=/tmp/demo.so /bin/true"),  # noqa: S108  # a file system of its own
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
        "Install root certificate",
        "Notice",
        "Writes a file in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/ca-certificates.conf"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction("Change firewall", "Notice", "Runs a copy of true named nft.", named("true", "nft", "add", "demo")),
    DemoAction(
        "Change audit rule",
        "Notice",
        "Runs a copy of true named auditctl.",
        named("true", "auditctl", "-w", "/nonexistent"),
    ),
    DemoAction(
        "Weaken kernel protection",
        "Notice",
        "Writes a file in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/sysctl.conf"),
        OWN_FILE_SYSTEM,
    ),
    DemoAction(
        "Encrypt file with password in arguments",
        "Notice",
        "Runs a copy of true named ccencrypt.",
        named("true", "ccencrypt", "-K", "demo"),
    ),
    DemoAction(
        "Remove backup or snapshot",
        "Notice",
        "Runs a copy of true named btrfs.",
        named("true", "btrfs", "subvolume", "delete", "demo"),
    ),
    DemoAction("Shut down host", "Notice", "Runs a copy of true named reboot.", named("true", "reboot")),
    DemoAction(
        "Shell spawned by text tool",
        "Notice",
        "Starts a shell that reads nothing, from awk.",
        script("awk 'BEGIN { system(\"sh\") }'"),
        NOTHING,
    ),
    DemoAction(
        "Write Python start-up hook",
        "Notice",
        "Creates an empty file named usercustomize.py in its own directory.",
        script(': > "$1/usercustomize.py"'),
    ),
    DemoAction(
        "Debugger detection by ptrace",
        "Notice",
        "Asks to be traced, and ends.",
        python("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)"),
        NOTHING,
    ),
    DemoAction(
        "Destroy data",
        "Warning",
        "Overwrites an empty file in its own directory with shred.",
        script(': > "$1/empty" && shred "$1/empty"'),
    ),
    DemoAction(
        "UDP traffic to unusual port",
        "Notice",
        "Connects a UDP socket to a documentation address and sends nothing.",
        python(
            'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect_ex(("192.0.2.1", 4444))'
        ),
        NOTHING,
    ),
    DemoAction(
        "SSH server loads known bad library",
        "Critical",
        "Runs a copy of cat named sshd that reads an empty file with the library's name.",
        script(': > "$1/liblzma.so.5.6.0" && cp /bin/cat "$1/sshd" && "$1/sshd" "$1/liblzma.so.5.6.0"'),
    ),
)
