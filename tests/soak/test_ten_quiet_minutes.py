"""Ten minutes of ordinary work on a host and in containers."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import ordinary_work as work
from tests.live.containers import Docker
from tests.live.ordinary_host import ordinary_host
from tests.live.quiet import PACKAGES, noise
from tests.live.watching import Watch

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SECONDS = float(os.environ.get("LANNER_SOAK_SECONDS", "600"))
CRON_JOB = "* * * * * root id > /dev/null; test -r /etc/passwd\n"


def test_ten_minutes_give_nothing_but_package_management_in_containers(
    docker: Docker, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Development, administration, cron and image builds raise only one kind of alert."""
    docker.debian()
    # Unpacked before anybody watches: tar sets setuid bits there, which is worth an alert.
    with ordinary_host() as host, Watch(docker.socket, tmp_path / "cache") as watch:
        end = time.monotonic() + SECONDS
        rounds = 0
        assert host.install(), "apt-get can't reach its mirror"
        (host.root / "etc/cron.d/each-minute").write_text(CRON_JOB)
        with host.daemon("cron", "-f"):
            while time.monotonic() < end or rounds == 0:
                directory = tmp_path / f"round{rounds}"
                directory.mkdir()
                work.use_git(directory)
                work.use_make_and_gcc(directory)
                work.use_pip(directory)
                work.use_tools(directory)
                work.log_in(host, directory)
                work.keep_house(host)
                work.build_and_run(docker, directory, "make gcc libc6-dev git python3-pip" if rounds == 0 else "cron")
                rounds += 1
                assert noise(watch.ours) == [], f"after {rounds} rounds"
        watch.settle()

        assert noise(watch.ours) == []
        assert {alert.rule for alert in watch.ours} == {PACKAGES}
        for name, value in {"rounds": rounds, "events": watch.events, "lost": watch.lost}.items():
            record_property(name, value)
