import pytest

from lanner.settings.forms import is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_only_this_host_can_connect_to_its_loopback_addresses(host: str) -> None:
    """The whole network 127.0.0.0/8 is loopback."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"])
def test_others_can_connect_to_other_addresses(host: str) -> None:
    """A name may begin like a loopback address."""
    assert not is_loopback(host)
