from dataclasses import replace

import pytest

from processor.hosts.liveness import (
    MAX_HOSTS,
    MAX_RECORD_BYTES,
    BadQuietHosts,
    QuietHosts,
    decode_quiet_hosts,
    encode_quiet_hosts,
    quiet_hosts,
)
from processor.hosts.sequences import QuietHost


def host(number: int, appended: int) -> QuietHost:
    """Return a host whose newest batch was appended at a time."""
    return QuietHost(f"id-{number}", f"web-{number}", "boot", 100, number, appended, stopping=False)


def test_a_record_is_read_as_it_was_written() -> None:
    """All that sequences and liveness need of a host is in it, whatever its name."""
    odd = QuietHost("id \udce4 \n", 'na"me', "boot", 1 << 62, 9, 1_000, stopping=True)
    written = QuietHosts(70_000, 500, 2_000, (odd, host(2, 1_500)))
    assert decode_quiet_hosts(encode_quiet_hosts(written)) == written


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"{", b"[]", b"null", b'{"position":1,"since":2,"until":3,"hosts":[[1]]}'),
        b'{"position":Infinity,"since":2,"until":3,"hosts":[]}',
        b'{"position":1,"since":2,"until":3,"hosts":[[[],"h","b",1,1,1,false]]}',
        b'{"position":1,"since":2,"until":3,"hosts":[["h","h","b",1,1,"1",false]]}',
        b'{"position":1,"since":2,"until":3,"hosts":[["h","h","b",1,9223372036854775808,1,false]]}',
        b'{"position":1,"since":2,"until":3,"hosts":[["h","h","b",1,1,1,0]]}',
    ],
)
def test_other_bytes_are_refused(value: bytes) -> None:
    """Nothing is concluded from them."""
    with pytest.raises(BadQuietHosts):
        decode_quiet_hosts(value)


def test_hosts_are_listed_by_how_long_they_were_silent() -> None:
    """A successor learns of them in the order in which they were heard."""
    found = quiet_hosts(5, 100, 900, [host(1, 300), host(2, 200), host(3, 800)])
    assert [each.appended for each in found.hosts] == [200, 300, 800]
    assert (found.position, found.since, found.until) == (5, 100, 900)


def test_what_does_not_fit_is_outside_of_the_time_that_is_known() -> None:
    """The record states since when it is complete, also if several hosts fell silent at once."""
    hosts = [host(number, 100 + number // 2) for number in range(MAX_HOSTS + 1)]
    found = quiet_hosts(5, 100, 10_000, hosts)
    assert len(found.hosts) == MAX_HOSTS - 1
    assert found.since == 101 == found.hosts[0].appended
    whole = quiet_hosts(5, 100, 10_000, hosts[:MAX_HOSTS])
    assert (whole.since, len(whole.hosts)) == (100, MAX_HOSTS)


def test_long_names_leave_room_for_fewer_hosts() -> None:
    """A host chooses its names, and a record that is larger than a message would not be written at all."""
    hosts = [replace(host(number, 100 + number), hostname="\x01" * 256) for number in range(MAX_HOSTS)]
    value = encode_quiet_hosts(quiet_hosts(5, 100, 1_000_000, hosts))
    assert len(value) <= MAX_RECORD_BYTES
    found = decode_quiet_hosts(value)
    assert found.since == found.hosts[0].appended > 100
    assert found.hosts[-1] == hosts[-1]
