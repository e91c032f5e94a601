"""The rules that every introduction shows, on this kernel, on the host and in real containers."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.alert import Alert
from tests.live.compiled import Programs
from tests.live.containers import Docker
from tests.live.debian_image import NoDebian
from tests.live.needs import lacking
from tests.live.watching import Watch

pytestmark = [pytest.mark.live, pytest.mark.containers]

TERMINAL_SHELL = "Terminal shell in container"
UNTRUSTED = "Read sensitive file untrusted"
AFTER_STARTUP = "Read sensitive file trusted after startup"
REFUSED = "Read sensitive file refused"
PACKAGES = "Launch Package Management Process in Container"
NOBODY = 65534


@pytest.fixture(scope="module")
def debian(docker: Docker) -> Iterator[str]:
    """Keep a container of a minimal Debian running and yield its name."""
    try:
        image = docker.debian()
    except NoDebian as missing:
        lacking(str(missing))
    with docker.running(image) as name:
        yield name


def of(rule: str, command: str, **fields: object) -> "Expected":
    """Return a matcher for an alert: by rule, command line and other fields."""
    return Expected(
        rule, {"proc.cmdline": command, **{name.replace("__", "."): value for name, value in fields.items()}}
    )


class Expected:
    """A rule and fields that an alert must have."""

    def __init__(self, rule: str, fields: dict[str, object]) -> None:
        self.rule, self.fields = rule, fields

    def __call__(self, alert: Alert) -> bool:
        """Return whether an alert matches."""
        return alert.rule == self.rule and self.fields.items() <= dict(alert.output_fields).items()


class TestTerminalShell:
    def test_shell_as_first_process(self, watch: Watch, docker: Docker) -> None:
        """The alert for docker run -t IMAGE sh shows who, where, from which image and on which terminal."""
        image = docker.busybox()
        # The rules about what starting a container does are compiled at the first one, while its events wait.
        docker.run(image, "true")
        watch.settle()

        # It runs until the alert is there: nothing is known of a container that is removed before it is looked up.
        with docker.running(image, "--tty", name="first-shell", command=("sh", "-c", ": run; sleep 3600")):
            alert = watch.find(of(TERMINAL_SHELL, "sh -c : run; sleep 3600"))

        assert alert.priority == "Notice"
        assert {"T1059", "mitre_execution", "container"} <= set(alert.tags)
        repository, tag = image.split(":")
        expected = {
            "container.name": "first-shell",
            "container.image.repository": repository,
            "container.image.tag": tag,
            "proc.name": "sh",
            "proc.pname": "containerd-shim",
            "proc.exepath": "/bin/busybox",
            "user.name": "root",
            "user.uid": 0,
            "user.loginuid": own_login_uid(),
            "k8s.pod.name": None,
            "k8s.ns.name": None,
        }
        assert {name: alert.output_fields[name] for name in expected} == expected
        assert is_short_id(alert.output_fields["container.id"])
        assert is_terminal(alert.output_fields["proc.tty"])

    def test_shell_put_in_from_outside(self, watch: Watch, docker: Docker, debian: str) -> None:
        """For docker exec -t CONTAINER bash the parent is the runtime's shim."""
        docker.exec(debian, "bash", "-c", ": exec", tty=True)

        alert = watch.find(of(TERMINAL_SHELL, "bash -c : exec"))
        assert alert.output_fields["proc.pname"] == "containerd-shim"
        assert alert.output_fields["container.id"] == docker.inspect(debian, "{{.Id}}")[:12]
        assert alert.output_fields["container.name"] == debian
        assert is_terminal(alert.output_fields["proc.tty"])

    def test_line_leaves_out_suggested_fields_without_a_value(self, watch: Watch, docker: Docker, debian: str) -> None:
        """A container without a pod has no names of Kubernetes."""
        docker.exec(debian, "bash", "-c", ": line", tty=True)

        line = watch.find(of(TERMINAL_SHELL, "bash -c : line")).output
        assert "k8s_" not in line
        assert "terminal=348" in line

    def test_kubelet_s_labels_name_pod_and_namespace(self, watch: Watch, docker: Docker) -> None:
        """A container with the labels that the kubelet sets is a pod's."""
        labels = (
            "io.kubernetes.pod.name=web-0",
            "io.kubernetes.pod.namespace=shop",
            "io.kubernetes.pod.uid=7e5f8d0c-0f2f-4d53-9a0a-0d5b1f4a3b0f",
            "io.kubernetes.container.name=web",
        )
        options = tuple(word for label in labels for word in ("--label", label))

        with docker.running(docker.busybox(), "--tty", *options, command=("sh", "-c", ": pod; sleep 3600")):
            alert = watch.find(of(TERMINAL_SHELL, "sh -c : pod; sleep 3600"))

        assert alert.output_fields["k8s.pod.name"] == "web-0"
        assert alert.output_fields["k8s.ns.name"] == "shop"

    def test_shell_without_a_terminal_is_quiet(self, watch: Watch, docker: Docker) -> None:
        """The shell form of an entry point is not a person's shell."""
        docker.run(docker.busybox(), "sh", "-c", ": quiet")

        watch.settle()
        assert not [alert for alert in watch.alerts if alert.output_fields.get("proc.cmdline") == "sh -c : quiet"]


class TestSensitiveFile:
    def test_read_on_the_host(self, watch: Watch) -> None:
        """Cat reads /etc/shadow: parent and grandparent are this test's, and there is no container."""
        subprocess.run(["sh", "-c", "cat /etc/shadow; : host"], stdout=subprocess.DEVNULL, check=True)

        alert = watch.find(of(UNTRUSTED, "cat /etc/shadow", proc__pname="sh", container__id="host"))
        assert alert.priority == "Warning"
        assert alert.output_fields["fd.name"] == "/etc/shadow"
        assert alert.output_fields["proc.aname[2]"] == Path(f"/proc/{os.getpid()}/comm").read_text().strip()
        assert alert.output_fields["container.image.repository"] is None

    def test_read_in_a_container(self, watch: Watch, docker: Docker, debian: str) -> None:
        """The container's own file counts as well; bash is the parent and the shim its parent."""
        docker.exec(debian, "bash", "-c", "cat /etc/shadow; : in", tty=True)

        alert = watch.find(of(UNTRUSTED, "cat /etc/shadow", container__name=debian))
        assert alert.output_fields["proc.pname"] == "bash"
        assert alert.output_fields["proc.aname[2]"] == "containerd-shim"
        assert is_terminal(alert.output_fields["proc.tty"])

    def test_read_through_a_symbolic_link(self, watch: Watch, tmp_path: Path) -> None:
        """The name that matched is the kernel's; the link doesn't hide the file."""
        link = tmp_path / "harmless"
        link.symlink_to("/etc/shadow")

        subprocess.run(["cat", link], stdout=subprocess.DEVNULL, check=True)

        assert watch.find(of(UNTRUSTED, f"cat {link}")).output_fields["fd.name"] == "/etc/shadow"

    def test_read_through_a_symbolic_link_in_a_container(self, watch: Watch, docker: Docker, debian: str) -> None:
        """As on the host."""
        docker.exec(debian, "sh", "-c", "ln -sf /etc/shadow /tmp/l; cat /tmp/l; : l")

        assert watch.find(of(UNTRUSTED, "cat /tmp/l", container__name=debian)).output_fields["fd.name"] == "/etc/shadow"

    def test_read_by_a_relative_name(self, watch: Watch) -> None:
        """It is joined with the working directory."""
        subprocess.run(["cat", "shadow"], cwd="/etc", stdout=subprocess.DEVNULL, check=True)

        assert watch.find(of(UNTRUSTED, "cat shadow")).output_fields["fd.name"] == "/etc/shadow"

    @pytest.mark.parametrize("bits", [64, 32])
    def test_read_by_the_32_bit_gate(self, watch: Watch, programs: Programs, bits: int) -> None:
        """A call by int 0x80 is reported like any other."""
        program = programs("open32", bits=bits)

        subprocess.run([program, "/etc/shadow"], stdout=subprocess.DEVNULL, check=True)

        alert = watch.find(of(UNTRUSTED, f"{Path(program).name} /etc/shadow"))
        assert alert.output_fields["evt.type"] == "open"

    def test_refused(self, watch: Watch) -> None:
        """Cat without the rights: a notice with the reason."""
        subprocess.run(
            ["cat", "/etc/shadow"], user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, check=False
        )

        alert = watch.find(of(REFUSED, "cat /etc/shadow", user__uid=NOBODY))
        assert alert.priority == "Notice"
        assert alert.output_fields["user.name"] == "nobody"
        assert alert.output_fields["evt.res"] == "EACCES"

    def test_server_is_quiet_while_it_starts_and_loud_later(self, watch: Watch) -> None:
        """The same program reads the file twice: at once, and after six seconds."""
        script = "read a < /etc/shadow; sleep 5.5; read a < /etc/shadow"
        place = 'mount -t tmpfs none /usr/sbin && cp /bin/sh /usr/sbin/nginx && exec /usr/sbin/nginx -c "$1"'

        subprocess.run(["unshare", "--mount", "sh", "-c", place, "place", script], check=True)

        watch.find(of(AFTER_STARTUP, f"nginx -c {script}"))
        ours = [each.rule for each in watch.alerts if each.output_fields.get("proc.cmdline") == f"nginx -c {script}"]
        assert ours == [AFTER_STARTUP]


class TestPackageManagement:
    def test_apt_get_update_in_a_container(self, watch: Watch, docker: Docker, debian: str) -> None:
        """One error for the program that was started, none for its children; the network doesn't matter."""
        docker.exec(debian, "bash", "-c", "apt-get update; : apt")

        alert = watch.find(of(PACKAGES, "apt-get update", container__name=debian))
        assert alert.priority == "Error"
        assert alert.output_fields["proc.pname"] == "bash"
        watch.settle()
        inside = [each for each in watch.alerts if each.output_fields["container.name"] == debian]
        assert [each.rule for each in inside].count(PACKAGES) == 1


def own_login_uid() -> int:
    """Return the login id of the daemon's processes: the daemon is a child of this process."""
    number = int(Path("/proc/self/loginuid").read_text())
    return -1 if number == 2**32 - 1 else number


def is_short_id(text: object) -> bool:
    """Return whether a text is a container's id as alerts show it."""
    return isinstance(text, str) and len(text) == 12 and set(text) <= set("0123456789abcdef")


def is_terminal(number: object) -> bool:
    """Return whether a device number is a pseudo terminal's; the first in a container is 34816."""
    return isinstance(number, int) and number >> 8 == 136
