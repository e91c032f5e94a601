"""Actions of the tactics stealth, defense impairment, and impact."""

from lanner.demo.act import NOBODY, NOTHING, OWN_FILE_SYSTEM, DemoAction, named, over, python, script

_SET_ATTRIBUTES = (
    "import fcntl, tempfile; file = tempfile.NamedTemporaryFile(); "
    "fcntl.ioctl(file, 0x40086602, fcntl.ioctl(file, 0x80086601, bytes(8)))"
)

STEALTH_ACTS: tuple[DemoAction, ...] = (
    DemoAction(
        "Mount exposes system files",
        "Warning",
        "Mounts /etc at an empty directory, where only the action sees it.",
        script('unshare --mount mount --bind /etc "$1"'),
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
        "Run cryptocurrency miner",
        "Critical",
        "Runs true with the address of a pool that doesn't exist as its argument.",
        script("/bin/true stratum+tcp://pool.invalid:3333"),
    ),
    DemoAction(
        "Write preload configuration",
        "Error",
        "Writes that file, empty, in an empty /etc that only the action sees.",
        over("/etc", "echo > /etc/ld.so.preload"),
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
        "Run system program from writable directory", "Notice", "Runs a copy of true named sshd.", named("true", "sshd")
    ),
    DemoAction(
        "Run program with extension of document",
        "Warning",
        "Runs a copy of true named report.pdf.run.",
        named("true", "report.pdf.run"),
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
)
