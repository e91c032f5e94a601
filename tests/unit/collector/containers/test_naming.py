import pytest

from collector.containers.naming import ContainerName, container_of

ID = "3d09256ebd53e581615d1a65971dcbac3ae1614adfae4b06c829c5f8f5678ec6"
OTHER = "f" * 64
POD = "0f2a7c9e-1b2c-4d5e-8f90-a1b2c3d4e5f6"
POD_UNDERSCORES = POD.replace("-", "_")


@pytest.mark.parametrize(
    ("path", "kind", "pod"),
    [
        (f"/docker/{ID}", "docker", None),
        (f"/system.slice/docker-{ID}.scope", "docker", None),
        (f"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{ID}.scope", "docker", None),
        (f"/system.slice/cri-containerd-{ID}.scope", "containerd", None),
        (f"/kubepods/besteffort/pod{POD}/{ID}", "containerd", POD),
        (f"/kubepods/pod{POD}/{ID}", "containerd", POD),
        (f"/kubepods/burstable/pod{'a' * 32}/{ID}", "containerd", "a" * 32),
        (
            (
                f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_UNDERSCORES}.slice/"
                f"cri-containerd-{ID}.scope"
            ),
            "containerd",
            POD,
        ),
        (f"/kubepods.slice/kubepods-pod{POD_UNDERSCORES}.slice/crio-{ID}.scope", "cri-o", POD),
        (f"/kubepods.slice/kubepods-pod{POD_UNDERSCORES}.slice/docker-{ID}.scope", "docker", POD),
        (
            f"/system.slice/containerd.service/kubepods-besteffort-pod{POD_UNDERSCORES}.slice:cri-containerd:{ID}",
            "containerd",
            POD,
        ),
        (f"/machine.slice/libpod-{ID}.scope", "podman", None),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman", None),
        (f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", "podman", None),
        (f"/libpod_parent/{ID}", "podman", None),
        (f"/docker/{ID}/init.scope", "docker", None),
        (f"/docker/{ID}" + "/x" * 15, "docker", None),
        (f"/docker/{OTHER}/docker/{ID}", "docker", None),
        (f"/docker/{OTHER}/kubelet/kubepods/pod{POD}/{ID}", "containerd", POD),
    ],
)
def test_known_runtimes_names_make_a_container(path: str, kind: str, pod: str | None) -> None:
    """Whatever cgroup driver is used, and nested groups belong to the innermost container around them."""
    assert container_of(path) == ContainerName(kind, ID, pod)


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
        f"/elsewhere/pod{POD}/{ID}",
        f"/docker/{ID}" + "/x" * 16,
    ],
)
def test_other_names_do_not(path: str) -> None:
    """Digits alone tell nothing, and a runtime's monitor runs on the host."""
    assert container_of(path) is None


def test_the_short_id_is_the_first_twelve_digits() -> None:
    """As people and rules know it."""
    assert ContainerName("docker", ID).id == "3d09256ebd53"
