"""Actions on the host for stateful rules."""

from lanner.demo.act import DemoAction
from lanner.demo.library.steps import NOTHING, OWN_DIRECTORY, OWN_FILE_SYSTEM, on_host, over, python, script

LIBRARY_STATEFUL_ACTS: tuple[DemoAction, ...] = (
    on_host(
        "Many files refused",
        "Notice",
        "Tries to read forty empty files of root as the user nobody.",
        script('cd "$1"; umask 77; touch $(seq 40); chmod 755 .; setpriv --reuid 65534 --clear-groups cat *'),
        OWN_DIRECTORY,
    ),
    on_host(
        "Port scan",
        "Warning",
        "Tries thirty ports of the loopback interface.",
        python(
            'import socket\nfor port in range(20000, 20030):\n    socket.socket().connect_ex(("127.0.0.1", port))\n'
        ),
        NOTHING,
    ),
    on_host(
        "Network sweep",
        "Notice",
        "Tries one port of fifty addresses of the loopback interface.",
        python(
            'import socket\nfor last in range(1, 51):\n    socket.socket().connect_ex((f"127.0.1.{last}", 20000))\n'
        ),
        NOTHING,
    ),
    on_host(
        "Download piped to shell",
        "Notice",
        "Pipes the version of curl, which is no script that does anything, to a shell.",
        script("curl --version | sh -s"),
        OWN_DIRECTORY,
    ),
    on_host(
        "Decoded payload piped to shell",
        "Warning",
        "Pipes nothing through base64 to a shell.",
        script("echo | base64 -d | sh"),
        OWN_DIRECTORY,
    ),
    on_host(
        "Many files removed",
        "Warning",
        "Removes empty files in an empty /var/log that only the action sees.",
        over("/var/log", "cd /var/log && touch $(seq 220) && rm -rf /var/log/*"),
        OWN_FILE_SYSTEM,
    ),
    on_host(
        "Secret read and sent",
        "Error",
        "Reads /etc/shadow, and then tries to connect to a documentation address with curl; nothing is sent.",
        # A session of its own: the rule counts by session, and other actions read secrets and connect, too.
        script(
            "setsid --wait sh -c 'cat /etc/shadow > /dev/null; curl --noproxy \"*\" --max-time 1 http://192.0.2.1/'"
        ),
        OWN_DIRECTORY,
    ),
    on_host(
        "Server writes program and it is run",
        "Critical",
        "Runs a copy of cp named nginx that writes a copy of true, and runs that.",
        script('cp /bin/cp "$1/nginx" && "$1/nginx" /bin/true "$1/demo" && "$1/demo"'),
        OWN_DIRECTORY,
    ),
    on_host(
        "Interactive reconnaissance",
        "Notice",
        "Runs ten programs that describe the system in one terminal.",
        python(
            'import pty; pty.spawn(["/bin/sh", "-c", "whoami; id; hostname; uname; who; ps; df; env; groups; lsblk"])'
        ),
        NOTHING,
    ),
)
