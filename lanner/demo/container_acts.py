"""Actions inside containers, each in a container of its own that is removed afterwards."""

from lanner.demo.act import NUMBERS, DemoAction, in_container, inside

CONTAINER_ACTS: tuple[DemoAction, ...] = (
    in_container(
        "Terminal shell in container",
        "Notice",
        "Starts a container whose first process is a shell with a terminal.",
        inside("sh", "-c", "true", tty=True),
    ),
    in_container(
        "Launch Package Management Process in Container",
        "Error",
        "Runs a program called apt-get, which does nothing, in a container.",
        inside("apt-get", "update"),
    ),
    in_container(
        "Set up io_uring in container",
        "Notice",
        "Creates an io_uring with one entry in a container and doesn't use it.",
        inside("perl", "-e", f"my $parameters = chr(0) x 120; syscall({NUMBERS['io_uring_setup']}, 1, $parameters)"),
    ),
    in_container(
        "Run program that is not of the image",
        "Critical",
        "Copies /bin/true inside a container and runs the copy.",
        inside("sh", "-c", "cp /bin/true /tmp/dropped && /tmp/dropped"),
    ),
    in_container(
        "Read service account token",
        "Warning",
        "Reads a file in a container where Kubernetes would have put a token.",
        inside(
            "sh", "-c", "d=/run/secrets/kubernetes.io/serviceaccount; mkdir -p $d && echo x > $d/token && cat $d/token"
        ),
    ),
    in_container(
        "Read environment of another process",
        "Notice",
        "Prints the environment of a container's first process, which is discarded.",
        inside("sh", "-c", "cat /proc/1/environ"),
    ),
    in_container(
        "Run network tool in container",
        "Notice",
        "Runs a copy of true named socat in a container.",
        inside("socat", "-V"),
    ),
    in_container(
        "Copy files with remote tool in container",
        "Notice",
        "Runs a copy of true named rsync in a container.",
        inside("rsync", "--version"),
    ),
    in_container(
        "Download in container", "Notice", "Runs a copy of true named wget in a container.", inside("wget", "--version")
    ),
    in_container(
        "Contact cloud metadata service from container",
        "Notice",
        "Tries to connect to 169.254.169.254 in a container without network.",
        inside("perl", "-e", 'socket(my $s, 2, 1, 6); connect($s, pack("S n C4 x8", 2, 80, 169, 254, 169, 254))'),
    ),
    in_container(
        "Contact Kubernetes API server from container",
        "Notice",
        "Tries to connect to 10.96.0.1 in a container without network.",
        inside("perl", "-e", 'socket(my $s, 2, 1, 6); connect($s, pack("S n C4 x8", 2, 443, 10, 96, 0, 1))'),
    ),
    in_container(
        "Run Kubernetes client in container",
        "Warning",
        "Runs a copy of true named kubectl in a container.",
        inside("kubectl", "version"),
    ),
    in_container(
        "Connect to container engine from container",
        "Warning",
        "Tries to connect to a socket that is not there, in a container.",
        inside("perl", "-e", 'socket(my $s, 1, 1, 0); connect($s, pack("S a*", 1, "/var/run/docker.sock"))'),
    ),
    in_container(
        "Open packet socket in container",
        "Notice",
        "Opens and closes a packet socket in a container without network.",
        inside("perl", "-e", "socket(my $s, 17, 3, 768)"),
    ),
    in_container(
        "Write release agent of control group",
        "Critical",
        "Writes a file of that name in a container's /tmp, where it has no effect.",
        inside("sh", "-c", "echo /x > /tmp/release_agent"),
    ),
    in_container(
        "Run debugfs in container",
        "Error",
        "Runs a copy of true named debugfs in a container.",
        inside("debugfs", "-V"),
    ),
    in_container(
        "Mount in container",
        "Warning",
        "Tries to mount an empty file system in a container that may not.",
        inside(
            "perl", "-e", f'my ($a, $b, $c) = ("none", "/tmp", "tmpfs"); syscall({NUMBERS["mount"]}, $a, $b, $c, 0, 0)'
        ),
    ),
    in_container(
        "Access device in container",
        "Warning",
        "Creates and reads an ordinary file named /dev/sdx in a container.",
        inside("sh", "-c", "echo x > /dev/sdx && cat /dev/sdx"),
    ),
    in_container(
        "Reach files through root of process in container",
        "Error",
        "Reads a file of a container through the root directory of its own first process.",
        inside("sh", "-c", "cat /proc/1/root/etc/passwd"),
    ),
    in_container(
        "Make file executable in container",
        "Notice",
        "Makes an empty file executable in a container.",
        inside("perl", "-e", 'open(my $f, ">", "/tmp/x"); chmod(0755, "/tmp/x")'),
    ),
    in_container(
        "Create executable file in container",
        "Notice",
        "Creates an empty executable file in a container.",
        inside("perl", "-e", 'sysopen(my $f, "/tmp/x", 65, 0755)'),
    ),
    in_container(
        "Archive sent out of container",
        "Notice",
        "Runs a copy of true named tar as a container's first process.",
        inside("tar", "cf", "-", "/etc"),
    ),
    in_container(
        "Decode payload in container",
        "Notice",
        "Runs a copy of true named base64 in a container.",
        inside("base64", "-d"),
    ),
    in_container(
        "Connection from container to outside",
        "Notice",
        "Tries to connect to a documentation address in a container without network.",
        inside("perl", "-e", 'socket(my $s, 2, 1, 6); connect($s, pack("S n C4 x8", 2, 443, 192, 0, 2, 1))'),
    ),
    in_container(
        "Download and run in container",
        "Warning",
        "Runs a copy of true named wget in a container, and then another copy that is not of the image.",
        inside("sh", "-c", "wget; cp /bin/true /tmp/demo; /tmp/demo"),
    ),
    in_container(
        "Person equips container and connects",
        "Warning",
        "Opens a terminal in a container, runs an apt-get that does nothing, and tries to connect without network.",
        inside(
            "sh",
            "-c",
            'apt-get; perl -e "socket(my \\$s, 2, 1, 6); connect(\\$s, pack(q(S n C4 x8), 2, 22, 192, 0, 2, 1))"',
            tty=True,
        ),
    ),
)
