"""The network interfaces of the captured host, which show which addresses are local (libsinsp ifinfo.cpp)."""

from ipaddress import IPv4Address, IPv6Address

from lanner.captures.lists import Interface
from lanner.captures.state.descriptors import OpenDescriptor

_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - addresses that a capture holds
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_MAX_INTERFACES = 1024
"""All are gone through for some events."""


class Interfaces:
    """The addresses of the captured host."""

    def __init__(self) -> None:
        self._all: dict[int, list[tuple[Interface, int]]] = {4: [], 6: []}
        """By version, each with the number of its network."""
        self._addresses: set[str] = set()
        self._networks: set[int] = set()

    def add(self, interface: Interface) -> None:
        """Add an address."""
        if sum(map(len, self._all.values())) < _MAX_INTERFACES:
            version = _version(interface.address)
            network = _network(interface.address, interface.netmask)
            self._all[version].append((interface, network))
            self._addresses.add(interface.address)
            if version == 6:
                self._networks.add(network)

    def is_local(self, address: str) -> bool:
        """Return whether an address is the host's; of IPv6, whether it is in one of its networks, as in Falco."""
        return address in self._addresses or (_version(address) == 6 and _network(address, 0) in self._networks)

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
        number = _number(address)
        for each, network in self._all[version]:
            if network == (number >> 64 if version == 6 else number & each.netmask):
                return each.address
        return next((each.address for each, _ in self._all[version] if each.address not in _LOOPBACK), _ANY[version])


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _number(address: str) -> int:
    return int(IPv6Address(address) if ":" in address else IPv4Address(address))


def _network(address: str, netmask: int) -> int:
    """Return the number of an address's network; netmask: of IPv4."""
    return _number(address) >> 64 if ":" in address else _number(address) & netmask
