import pytest

from lanner.prove.guest import _WITHOUT
from lanner.prove.run import change_of_kernel


@pytest.mark.parametrize(
    ("commands", "in_guest", "on_host"),
    [
        ("swapoff -a", "swapoff", "swapoff"),
        ("NOW=$(date +%m)\ndate 010100001971", "", "date 0"),
        ("date -s yesterday", "", "date -s"),
        ("hwclock --set", "", "hwclock"),
        ("date +%s; touch x", "", ""),
    ],
)
def test_what_would_change_the_kernel_is_refused(commands: str, in_guest: str, on_host: str) -> None:
    """A guest can't set the clock, so there the attempt is a test."""
    assert change_of_kernel(commands, is_lasting=False) == in_guest
    assert change_of_kernel(commands, is_lasting=True) == on_host
    assert "sys_time" in _WITHOUT
