import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import PROFILES, Cluster, daemon_with_images
from tests.live.debian_image import NoDebian
from tests.live.dockerd import NoDocker
from tests.live.needs import lacking
from tests.live.notifier.slack_server import SlackServer


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start the cluster of deploy/compose, with a stand-in for Slack and a victim; it ends with this folder."""
    if shutil.which("docker-compose") is None:
        lacking("docker-compose is not installed")
    try:
        with daemon_with_images() as (daemon, images):
            made = Cluster(daemon, images, tmp_path_factory.mktemp("compose"))
            made.slack = SlackServer(made.gateway())
            made.set(LANNER_SLACK_TOKEN="made-up-token", LANNER_SLACK_API_URL=made.slack.api)
            try:
                made.compose(*PROFILES, "up", "--detach")
                made.wait_until_it_works()
                made.start_victim(images["LANNER_BUSYBOX_IMAGE"])
                yield made
            finally:
                made.end()
                made.slack.close()
    except (NoDocker, NoDebian) as missing:
        lacking(str(missing))
