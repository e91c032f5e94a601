import pytest

from collector.processes.container_names import ContainerName, Naming, container_of

ID = "3d09256ebd53e581615d1a65971dcbac3ae1614adfae4b06c829c5f8f5678ec6"
OTHER = "f" * 64
BUILD = "x1y2" * 6 + "z"
POD = "0f2a7c9e-1b2c-4d5e-8f90-a1b2c3d4e5f6"
POD_UNDERSCORES = POD.replace("-", "_")
POD_SLICE = f"kubepods-burstable-pod{POD_UNDERSCORES}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "kind", "pod"),
    [
        # Docker: cgroupfs, systemd, another parent
        (f"/docker/{ID}", "docker", None),
        (f"/system.slice/docker-{ID}.scope", "docker", None),
        (f"/build.slice/build-ci.slice/docker-{ID}.scope", "docker", None),
        (f"/docker-{ID}.scope", "docker", None),
        # containerd outside pods
        (f"/system.slice/cri-containerd-{ID}.scope", "containerd", None),
        # Pods: cgroupfs, systemd, and containerd with systemd names but plain cgroups
        (f"/kubepods/besteffort/pod{POD}/{ID}", "containerd", POD),
        (f"/kubepods/pod{POD}/{ID}", "containerd", POD),
        (f"/kubepods/burstable/pod{'a' * 32}/{ID}", "containerd", "a" * 32),
        (f"/kubepods/burstable/pod{POD}/crio-{ID}", "cri-o", POD),
        (f"/kubepods.slice/kubepods-burstable.slice/{POD_SLICE}/cri-containerd-{ID}.scope", "containerd", POD),
        (f"/kubepods.slice/kubepods-pod{POD_UNDERSCORES}.slice/crio-{ID}.scope", "cri-o", POD),
        (f"/kubepods.slice/kubepods-pod{POD_UNDERSCORES}.slice/crio-{ID}.scope/container", "cri-o", POD),
        (f"/kubepods.slice/kubepods-pod{POD_UNDERSCORES}.slice/docker-{ID}.scope", "docker", POD),
        (f"/system.slice/containerd.service/{POD_SLICE}:cri-containerd:{ID}", "containerd", POD),
        (f"/system.slice/k3s.service/{POD_SLICE}:cri-containerd:{ID}", "containerd", POD),
        (f"/{POD_SLICE}:cri-containerd:{ID}", "containerd", POD),
        # Podman: systemd, cgroupfs
        (f"/machine.slice/libpod-{ID}.scope", "podman", None),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", None),
        (f"/machine.slice/{ID}", "podman", None),
        (f"/libpod_parent/{ID}", "podman", None),
        (f"/libpod_parent/libpod-{ID}", "podman", None),
        (f"/libpod_parent/{OTHER}/libpod-{ID}", "podman", None),
        (f"/machine.slice/machine-libpod_pod_{OTHER}.slice/libpod-{ID}.scope", "podman", None),
        # containerd without pods: nerdctl with and without systemd, crictl without the kubelet
        (f"/system.slice/nerdctl-{ID}.scope", "containerd", None),
        (f"/default/{ID}", "containerd", None),
        (f"/k8s.io/{ID}", "containerd", None),
        # Cgroups that a container creates below its own
        (f"/docker/{ID}/init.scope", "docker", None),
        (f"/system.slice/docker-{ID}.scope/system.slice/cron.service", "docker", None),
        (f"/docker/{ID}" + "/x" * 13, "docker", None),
    ],
)
def test_known_runtimes_names_make_a_container(path: str, kind: str, pod: str | None) -> None:
    """With every cgroup driver and version; cgroups below belong to the container too."""
    found = container_of(path)

    assert found is not None
    assert (found.type, found.full_id, found.pod_uid, found.is_certain) == (kind, ID, pod, True)
    assert path.startswith(found.cgroup)
    assert ID in found.cgroup.rpartition("/")[2]


@pytest.mark.parametrize(
    ("path", "kind", "identifier"),
    [
        ("/default/my-box", "containerd", "my-box"),
        ("/lxc/web_1", "lxc", "web_1"),
        ("/lxc.payload/web/init.scope", "lxc", "web"),
        ("/lxc.payload.project_web/system.slice/cron.service", "lxc", "project_web"),
        ("/machine.slice/systemd-nspawn@debian.service/payload/system.slice", "systemd-nspawn", "debian"),
        ("/machine.slice/machine-debian.scope/init.scope", "systemd-nspawn", "debian"),
        (f"/docker/buildkit/{BUILD}", "buildkit", BUILD),
        (f"/buildkit/{BUILD}", "buildkit", BUILD),
        (f"/system.slice/docker-{BUILD}.scope", "buildkit", BUILD),
    ],
)
def test_some_containers_have_a_name_instead_of_digits(path: str, kind: str, identifier: str) -> None:
    """With ctr, LXC, Incus and systemd-nspawn somebody chooses it; BuildKit's ids are shorter."""
    found = container_of(path)

    assert found is not None
    assert (found.type, found.full_id, found.is_certain) == (kind, identifier, True)


@pytest.mark.parametrize(
    ("path", "kind", "pod"),
    [
        (f"/docker/{OTHER}/docker/{ID}", "docker", None),
        (f"/lxc.payload.builder/docker/{ID}", "docker", None),
        (f"/machine.slice/machine-debian.scope/payload/system.slice/docker-{ID}.scope", "docker", None),
        (f"/system.slice/docker-{OTHER}.scope/docker/{ID}", "docker", None),
        (f"/system.slice/docker-{OTHER}.scope/system.slice/docker-{ID}.scope", "docker", None),
        (f"/machine.slice/libpod-{OTHER}.scope/container/libpod_parent/libpod-{ID}", "podman", None),
        (f"/docker/{OTHER}/kubelet/kubepods/pod{POD}/{ID}", "containerd", POD),
        (f"/docker/{OTHER}/kubepods/besteffort/pod{POD}/{ID}", "containerd", POD),
        (
            (
                f"/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
                f"kubelet-kubepods-besteffort-pod{POD_UNDERSCORES}.slice/cri-containerd-{ID}.scope"
            ),
            "containerd",
            POD,
        ),
    ],
)
def test_of_nested_containers_the_innermost_counts(path: str, kind: str, pod: str | None) -> None:
    """Docker in Docker, kind. The outer container's root can make up such names as well, so they aren't certain."""
    found = container_of(path)

    assert found is not None
    assert found == ContainerName(kind, ID, pod, path, is_certain=False, outer=found.outer)
    assert path.startswith(f"{found.outer}/")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/init.scope",
        "/system.slice/cron.service",
        "/system.slice/docker.service",
        "/process_api/4d42142d2df5f63c2f0a2f32608701f4",
        "/4d42142d2df5f63c2f0a2f32608701f4",
        f"/{ID}",
        f"/process_api/{ID}",
        f"/docker/{ID[:63]}",
        f"/docker/{ID}a",
        f"/docker/{ID.upper()}",
        f"/docker/{ID}\n",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/system.slice/crio-conmon-{ID}.scope",
        "/lxc.monitor.web",
        "/lxc/web;id",
        "/lxc.payload.",
        "/default",
        "/machine.slice/systemd-nspawn@debian.service/supervisor",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
        "/system.slice/docker-abc.scope",
        f"/elsewhere/pod{POD}/{ID}",
        f"/kubepods/other/pod{POD}/{ID}",
    ],
)
def test_other_names_do_not(path: str) -> None:
    """Digits alone prove nothing, and a runtime's monitor runs on the host."""
    assert container_of(path) is None


@pytest.mark.parametrize(
    "path",
    [
        f"{USER}/app.slice/docker-{ID}.scope",
        f"{USER}/x/cri-containerd-{ID}.scope",
        f"{USER}/docker/{ID}",
        f"{USER}/user.slice/libpod-{ID}.scope",
        f"{USER}/kubepods/pod{POD}/{ID}",
        f"{USER}/kubepods.slice/{POD_SLICE}/cri-containerd-{ID}.scope",
        f"{USER}/containerd.service/{POD_SLICE}:cri-containerd:{ID}",
        f"/user.slice/docker-{ID}.scope",
        f"/user.slice/user-1000.slice/session-1.scope/docker/{ID}",
        f"/user/alice/0/docker/{ID}",
        # A service or a scope may be delegated as well
        f"/system.slice/worker.service/docker-{ID}.scope",
        f"/system.slice/worker.service/docker/{ID}",
        f"/system.slice/worker.service/{POD_SLICE}:cri-containerd:{ID}",
        f"/docker/{ID[:12]}/docker/{ID}",
        # Not from the root: relative to a cgroup namespace, or cut off by the kernel side's walk of 16 names
        f"/../docker-{ID}.scope",
        f"docker/{ID}",
        f"/system.slice/docker-{ID}.scope" + "/x" * 14,
    ],
)
def test_where_others_than_runtimes_make_cgroups_names_count_for_nothing(path: str) -> None:
    """Systemd delegates a user's slice to the user, who may create cgroups of any name in it."""
    assert container_of(path) is None


def test_configured_parents_count_too() -> None:
    """Those of rootless runtimes aren't certain, because the user can create any cgroup there."""
    naming = Naming(["/user.slice/user-*.slice/user@*.service", "/farm/builder", "/jobs"])

    rootless = naming.container_of(f"{USER}/user.slice/libpod-{ID}.scope/container")
    assert rootless == ContainerName("podman", ID, None, f"{USER}/user.slice/libpod-{ID}.scope", is_certain=False)
    assert naming.container_of(f"/farm/builder/docker/{ID}") == ContainerName(
        "docker", ID, None, f"/farm/builder/docker/{ID}"
    )
    assert naming.container_of(f"/jobs/{ID}") == ContainerName("docker", ID, None, f"/jobs/{ID}")
    assert naming.container_of(f"/docker/{ID}") == container_of(f"/docker/{ID}")
    assert naming.container_of(f"/farm/other/docker/{ID}") is None
    assert naming.container_of("/jobs") is None


def test_the_same_id_in_another_place_is_another_container() -> None:
    """Facts about one are not reported for the other."""
    one, other = container_of(f"/docker/{ID}"), container_of(f"/docker/{OTHER}/docker/{ID}")

    assert one is not None
    assert other is not None
    assert one.key != other.key


def test_the_short_id_is_the_first_twelve_digits() -> None:
    """The id that people and rules use."""
    assert ContainerName("docker", ID).id == "3d09256ebd53"
