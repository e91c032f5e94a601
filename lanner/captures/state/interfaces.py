"""The network interfaces of the captured host, which show which addresses are local (libsinsp ifinfo.cpp)."""

from ipaddress import IPv4Address, IPv6Address

from lanner.captures.lists import Interface
from lanner.captures.state.descriptors import OpenDescriptor

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - addresses that a capture holds
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_MAX_INTERFACES = 4096


class Interfaces:
    """The addresses of the captured host."""

    def __init__(self) -> None:
        self._all: dict[int, list[Interface]] = {4: [], 6: []}
        self._addresses: set[str] = set()
        self._networks: set[int] = set()

    def add(self, interface: Interface) -> None:
        """Add an address."""
        if sum(map(len, self._all.values())) < _MAX_INTERFACES:
            version = _version(interface.address)
            self._all[version].append(interface)
            self._addresses.add(interface.address)
            if version == 6:
                self._networks.add(_network(interface.address))

    def is_local(self, address: str) -> bool:
        """Return whether an address is the host's; of IPv6, whether it is in one of its networks, as in Falco."""
        return address in self._addresses or (_version(address) == 6 and _network(address) in self._networks)

    def complete(self, descriptor: OpenDescriptor) -> None:
        """Fill in the address that a socket was not bound to, or that a datagram was not sent to."""
        source, target = descriptor.source, descriptor.target
        if source is None or target is None:
            return
        version = _version(source[0])
        unspecified = _ANY[version]
        if unspecified not in {source[0], target[0]}:
            return
        is_source = source[0] == unspecified
        known = target[0] if is_source else source[0]
        own = self._towards(known, version)
        if own == known and source[1] == target[1]:
            return
        if is_source:
            descriptor.source = (own, source[1])
        else:
            descriptor.target = (own, target[1])

    def _towards(self, address: str, version: int) -> str:
        if address in self._addresses:
            return address
        for each in self._all[version]:
            if _is_near(each, address, version):
                return each.address
        return next((each.address for each in self._all[version] if each.address not in _LOOPBACK), _ANY[version])


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _network(address: str) -> int:
    return int(IPv6Address(address)) >> 64


def _is_near(interface: Interface, address: str, version: int) -> bool:
    if version == 6:
        return _network(interface.address) == _network(address)
    return int(IPv4Address(interface.address)) & interface.netmask == int(IPv4Address(address)) & interface.netmask
