"""Actions of the tactics credential access, discovery, collection, command and control, and exfiltration."""

from lanner.demo.act import NOTHING, NUMBERS, OWN_FILE_SYSTEM, DemoAction, named, over, python, script

ACCESS_ACTS: tuple[DemoAction, ...] = (
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
        "Read login configuration",
        "Informational",
        "Reads a file in an empty /etc that only the action sees.",
        over("/etc", "mkdir /etc/pam.d && echo > /etc/pam.d/demo && cat /etc/pam.d/demo"),
        OWN_FILE_SYSTEM,
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
    DemoAction("Run network scanner or sniffer", "Notice", "Runs a copy of true named nmap.", named("true", "nmap")),
    DemoAction(
        "Read shell start-up file",
        "Informational",
        "Reads an empty file named .bashrc in its own directory.",
        script(': > "$1/.bashrc" && cat "$1/.bashrc"'),
    ),
    DemoAction(
        "Use archive with password",
        "Notice",
        "Runs a copy of true named zip with a password as its argument.",
        named("true", "zip", "-P", "demo", "demo.zip"),
    ),
    DemoAction(
        "Connect with network tool to unusual port",
        "Notice",
        "Runs a copy of perl under the name nc, which tries to connect to a documentation address.",
        named("perl", "nc", "-e", 'socket(my $s, 2, 2049, 6); connect($s, pack("S n C4 x8", 2, 4444, 192, 0, 2, 1))'),
    ),
    DemoAction(
        "Connect with SSH to unusual port",
        "Notice",
        "Runs a copy of perl under the name ssh, which tries to connect to a documentation address.",
        named("perl", "ssh", "-e", 'socket(my $s, 2, 2049, 6); connect($s, pack("S n C4 x8", 2, 443, 192, 0, 2, 1))'),
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
        "Many names looked up",
        "Notice",
        "Runs a copy of true named dig with eight names.",
        script('cp /bin/true "$1/dig" && for i in a b c d e f g h; do "$1/dig" "$i.invalid"; done'),
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
        "UDP traffic to unusual port",
        "Notice",
        "Connects a UDP socket to a documentation address and sends nothing.",
        python(
            'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect_ex(("192.0.2.1", 4444))'
        ),
        NOTHING,
    ),
    DemoAction(
        "Upload file with web client",
        "Notice",
        "Runs a copy of true named curl with the arguments of an upload.",
        named("true", "curl", "-T", "/dev/null", "http://192.0.2.1/"),
    ),
)
