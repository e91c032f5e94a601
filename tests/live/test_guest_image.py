"""The root directory of guests is built from Debian's packages."""

import pytest

from lanner.prove.guest import USER
from lanner.prove.image import NoDebian
from tests.live.debian_image import guest_image
from tests.live.needs import lacking

pytestmark = pytest.mark.live


def test_guests_have_services_and_a_user() -> None:
    """Nothing of the build is left; tests/live/test_floor.py uses the same root directory later."""
    try:
        image = guest_image()
    except NoDebian as missing:
        lacking(str(missing))
    assert (image / "usr/lib/systemd/systemd").exists()
    assert (image / "home" / USER / ".aws/credentials").exists()
    assert not (image / "usr/sbin/policy-rc.d").exists()
