"""The images of deploy/compose. It builds them beside other tests; those of the cluster then find them in the cache."""

import pytest

from tests.e2e.cluster import daemon_with_images
from tests.live.debian_image import NoDebian
from tests.live.dockerd import NoDocker
from tests.live.needs import lacking

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

ASK = """
import importlib.util, lanner
assert not [name for name in ("pip", "setuptools") if importlib.util.find_spec(name)]
print(lanner.__file__)
"""


def test_each_image_runs_lanner_and_has_nothing_that_only_its_build_needed() -> None:
    """The package is that of the image, and pip isn't there any longer."""
    try:
        with daemon_with_images() as (daemon, images):
            for stage in ("collector", "processor", "notifier", "console"):
                run = ("run", "--rm", "--network", "none")
                image = images[f"LANNER_{stage.upper()}_IMAGE"]
                assert daemon.client(*run, image, "--version").stdout.startswith("lanner ")
                asked = daemon.client(*run, "--entrypoint", "/opt/lanner/bin/python", image, "-c", ASK)
                assert asked.stdout.startswith("/opt/lanner/lib/python3.11/site-packages/lanner/")
    except (NoDocker, NoDebian) as missing:
        lacking(str(missing))
