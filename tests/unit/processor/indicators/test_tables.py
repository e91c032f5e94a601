import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.indicators.tables import TABLES, BadIndicator, Entry, Kind, Table


def table(kind: Kind, *entries: str | Entry) -> Table:
    """Make a table of entries."""
    made = TABLES[kind]()
    for each in entries:
        made.add(each if isinstance(each, Entry) else Entry(each))
    made.finish()
    return made


def found(of: Table, value: str) -> list[str]:
    """Return the entries that have a value."""
    texts = [each.text for each in of.find(value)]
    assert of.may_have(value) or not texts
    return texts


_NUMBERS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**31, 2**32 - 1, 0x0A000000, 0x0A0000FF]))


@st.composite
def _networks(draw: st.DrawFn) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if draw(st.booleans()):
        return ipaddress.IPv4Network((draw(_NUMBERS), draw(st.integers(0, 32))), strict=False)
    return ipaddress.IPv6Network((draw(_NUMBERS) << draw(st.integers(0, 96)), draw(st.integers(0, 128))), strict=False)


@given(st.lists(_networks(), max_size=20), st.lists(_NUMBERS, max_size=5))
def test_an_address_is_found_in_the_networks_that_hold_it(
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], numbers: list[int]
) -> None:
    """The smallest network comes first; ipaddress is the oracle."""
    made = table("address", *map(str, networks))
    addresses = [ipaddress.ip_address(number) for number in numbers]
    addresses += [ipaddress.ip_address(number << 64 | number) for number in numbers]
    addresses += [each[index] for each in networks for index in (0, -1)]
    for address in addresses:
        holding = sorted((each for each in networks if address in each), key=lambda each: -each.prefixlen)
        assert [ipaddress.ip_network(each) for each in found(made, str(address))] == holding
        assert made.may_have(str(address)) == bool(holding)


def test_many_networks_are_found_as_few_are() -> None:
    """Also one that begins far before the address, and those at both ends."""
    networks = ["0.0.0.0", "16.0.0.0/4", "16.5.0.0/16", "255.255.255.255"]
    made = table("address", *networks, *(f"17.{index >> 8}.{index & 255}.0/30" for index in range(2_000)))
    assert found(made, "31.255.255.255") == ["16.0.0.0/4"]
    assert found(made, "16.5.255.255") == ["16.5.0.0/16", "16.0.0.0/4"]
    assert found(made, "17.1.2.3") == ["17.1.2.0/30", "16.0.0.0/4"]
    assert [found(made, each) for each in ("0.0.0.0", "0.0.0.1", "32.0.0.0")] == [["0.0.0.0"], [], []]
    assert found(made, "255.255.255.255") == ["255.255.255.255"]


_LABELS = st.sampled_from(["a", "b", "ab", "x-1", "example"])
_DOMAINS = st.lists(_LABELS, min_size=1, max_size=5).map(".".join)


@given(st.sets(_DOMAINS, max_size=15), st.lists(_DOMAINS, max_size=10))
def test_a_name_is_found_below_the_names_of_a_list(names: set[str], asked: list[str]) -> None:
    """Whole labels count, and the longest entry comes first."""
    made = table("name", *names)
    for name in asked:
        above = [each for each in names if name == each or name.endswith(f".{each}")]
        assert found(made, f"{name.upper()}.") == sorted(above, key=len, reverse=True)


def test_most_values_that_no_entry_has_are_ruled_out_at_once() -> None:
    """By marks of entries and of their ends, also for names of few labels and those below names of entries."""
    hosts = [f"h{number}.{'a.' * (number % 3)}site{number % 50}.example" for number in range(3_000)]
    made = table("name", *hosts, "zip")
    others = [f"o{number}.{'a.' * (number % 3)}site{number % 90}.example" for number in range(3_000)]
    assert sum(map(made.may_have, others)) < 300
    assert all(made.may_have(f"x.{each}") for each in hosts)
    assert found(made, "a.zip.") == ["zip"]
    assert not any(map(made.may_have, ("site1.example", "example", "", ".", "ZIPP")))
    networks = table("address", *(f"2001:db8:{number:x}::/48" for number in range(1_000)))
    assert found(networks, "2001:db8:3e7::1") == ["2001:db8:3e7::/48"]
    assert not networks.may_have("2001:db8:3e8::1")


def test_digests_are_found_in_any_notation() -> None:
    """In either case, and behind the name of the algorithm, as of an image."""
    made = table("digest", "AB" * 32, "sha1:" + "cd" * 20)
    assert found(made, f"sha256:{'ab' * 32}") == ["ab" * 32]
    assert found(made, "CD" * 20) == ["cd" * 20]
    assert [found(made, each) for each in ("ab" * 31, "", "x", "é")] == [[], [], [], []]


def test_the_facts_of_an_entry_are_found_with_it() -> None:
    """Expiry and description; an entry that is there twice is found twice."""
    entries = [Entry("/opt/x", 5, "Malware"), Entry("/opt/x"), Entry("\udc80", 7)]
    made = table("text", *entries)
    assert list(made.find("/opt/x")) == entries[:2]
    assert list(made.find("\udc80")) == entries[2:]
    assert len(made) == 3
    assert made.checksum == table("text", *entries).checksum != table("text", *entries[:2]).checksum


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("address", "10.0.0.1/8", "bits after the length"),
        ("address", "10.0.0.0/33", "is 0 to 32"),
        ("address", "10.0.0.0/", "is 0 to 32"),
        ("address", "2001:db8::/٣", "is 0 to 128"),
        ("address", "010.0.0.1", "neither an address nor a network"),
        ("address", "bad.example", "neither an address nor a network"),
        ("name", "a..b", "labels of 1 to 63"),
        ("name", "a" * 64, "labels of 1 to 63"),
        ("name", "a b", "letters, digits"),
        ("name", "198.51.100.7", "an address, not a name"),
        ("name", "\ud800.example", "no form in ASCII"),
        ("digest", "ab" * 31, "not a digest"),
        ("digest", "zz" * 32, "not a digest"),
        ("text", "", "empty"),
        ("text", "x" * 1025, "longer than 1024"),
    ],
)
def test_what_is_not_of_a_kind_is_refused(kind: Kind, text: str, why: str) -> None:
    """The reason is what is expected, and the table stays as it was."""
    made = TABLES[kind]()
    with pytest.raises(BadIndicator, match=why):
        made.add(Entry(text))
    assert len(made) == 0


def test_names_of_other_scripts_have_the_form_that_is_looked_up() -> None:
    """IDNA, and without the star of a wildcard."""
    assert found(table("name", "*.Bücher.example"), "a.xn--bcher-kva.example") == ["xn--bcher-kva.example"]
