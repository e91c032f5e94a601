"""Every shipped rule detects its demo action, on this kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.errors import EnvironmentUnsupported
from lanner.demo import ACTS, DemoAction, DemoContext, DemoSkipped
from lanner.demo.act import DemoDocker
from notifier.formats import ecs
from schemas.alert import Alert
from tests.live.containers import Docker
from tests.live.dockerd import CLIENT, SLOW_RUNTIME
from tests.live.needs import lacking
from tests.live.watching import Watch
from tests.unit.notifier.formats.test_ecs import WHOLE, flat

pytestmark = [pytest.mark.live, pytest.mark.containers]


@pytest.fixture(scope="module")
def watch(docker: Docker, bytecode: Path) -> Iterator[Watch]:
    """Watch this machine with all rules, including disabled ones."""
    try:
        watching = Watch(docker.socket, bytecode, every_rule=True).__enter__()
    except EnvironmentUnsupported as missing:
        lacking(missing.reason)
    try:
        yield watching
    finally:
        watching.__exit__(None, None, None)


@pytest.fixture(scope="module")
def demo_docker(docker: Docker) -> Iterator[DemoDocker]:
    """Use the tests' own daemon as the demo uses a user's."""
    with DemoDocker(CLIENT, f"unix://{docker.socket}") as found:
        yield found


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.rule)
def test_act_gives_the_alert_it_promises(
    act: DemoAction, watch: Watch, demo_docker: DemoDocker, tmp_path: Path
) -> None:
    """The alert has the documented priority and shows who did it, to SIEMs too."""
    before = len(watch.alerts)

    try:
        act.run(DemoContext(tmp_path, demo_docker))
    except DemoSkipped as reason:
        lacking(str(reason))

    def is_of_act(each: Alert) -> bool:
        is_here = ("docker" in act.needs) == (each.output_fields["container.id"] != "host")
        return each.rule == act.rule and is_here and each in watch.alerts[before:]

    # The daemon of other tests' containers may be busy.
    alert = watch.find(is_of_act, 20)
    assert alert.priority == act.priority
    assert alert.output_fields["proc.name"]
    assert watch.rule_faults == {}
    document = flat(ecs.document(alert))
    assert document.keys() >= WHOLE
    assert ("container.id" in document) == ("docker" in act.needs)


def test_an_alert_names_a_container_that_docker_is_still_starting(watch: Watch, docker: Docker) -> None:
    """Docker inspects it only once its runtime has reported the start, five seconds later here."""
    options = ("--runtime", SLOW_RUNTIME, "--name", "still-starting")

    docker.run(docker.busybox(), "cat", "/etc/shadow", options=options)

    alert = watch.find(lambda each: each.output_fields.get("container.name") == "still-starting")
    repository, tag = docker.busybox().split(":")
    fields = alert.output_fields
    assert (fields["container.image.repository"], fields["container.image.tag"]) == (repository, tag)


def test_acts_leave_nothing_behind(demo_docker: DemoDocker, docker: Docker) -> None:
    """No image is left after the demo, no container, no file."""
    demo_docker.__exit__(None, None, None)

    assert "lanner-demo" not in docker.daemon.client("images").stdout
    assert "lanner-demo" not in docker.daemon.client("ps", "--all").stdout
    assert list(Path("/usr/bin").glob(".lanner-demo*")) == []
    assert list(Path("/dev/shm").glob("lanner-demo*")) == []
