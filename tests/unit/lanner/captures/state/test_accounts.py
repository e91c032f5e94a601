"""Containers by cgroups, as Falco's container plugin reads them."""

import pytest

from lanner.captures.state.accounts import cgroups_of

ID = "0123456789ab" + "c" * 52


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/docker/{ID}", ("docker", "0123456789ab")),
        (f"/system.slice/docker-{ID}.scope", ("docker", "0123456789ab")),
        (f"/machine.slice/libpod-{ID}.scope/container", ("podman", "0123456789ab")),
        (f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ("containerd", "0123456789ab")),
        (f"/kubepods/besteffort/pod1/{ID}", ("docker", "0123456789ab")),
        (f"/kubepods.slice/crio-{ID}.scope", ("cri-o", "0123456789ab")),
        ("/default/web", ("containerd", "web")),
        ("/user/ann/0", ("containerd", "ann/0")),
        ("/local_slice/" + "0" * 32, ("containerd", "0" * 12)),
        ("/lxc.payload.web/init.scope", ("lxc", "web")),
        ("/machine/web.libvirt-lxc", ("containerd", "web.libvirt-")),
        ("/", None),
        ("/user.slice/user-1000.slice/session-3.scope", None),
        ("/system.slice/docker.service", None),
        ("/user.slice", None),
    ],
)
def test_a_cgroup_shows_a_container(path: str, name: tuple[str, str] | None) -> None:
    """Known layouts count first, then any path of two parts that systemd didn't make."""
    found, _ = cgroups_of(("cpu=/", f"memory={path}"))
    assert (None if found is None else (found.type, found.id)) == name
