"""The network interfaces of the captured host, which show which addresses are local (libsinsp ifinfo.cpp)."""

from ipaddress import IPv4Address

from lanner.captures.lists import Interface
from lanner.captures.state.descriptors import OpenDescriptor

_ANY = "0.0.0.0"  # noqa: S104 - an address that a capture holds
_LOOPBACK = "lo"
_MAX_INTERFACES = 4096


class Interfaces:
    """The addresses of the captured host."""

    def __init__(self) -> None:
        self._all: list[Interface] = []
        self._addresses: set[str] = set()

    def add(self, interface: Interface) -> None:
        """Add an address."""
        if len(self._all) < _MAX_INTERFACES:
            self._all.append(interface)
            self._addresses.add(interface.address)

    def is_local(self, address: str, container_ip: str | None) -> bool:
        """Return whether an address is this host's; container_ip: that of a process in a container, "" if unknown."""
        if container_ip is not None:
            if not container_ip:
                return False
            if address == container_ip:
                return True
        return address in self._addresses

    def complete(self, descriptor: OpenDescriptor) -> None:
        """Fill in the address that a socket was not bound to, or that a datagram was not sent to."""
        source, target = descriptor.source, descriptor.target
        if source is None or target is None or ":" in source[0] + target[0] or _ANY not in {source[0], target[0]}:
            return
        known = target[0] if source[0] == _ANY else source[0]
        own = self._towards(known)
        if own == known and source[1] == target[1]:
            return
        if source[0] == _ANY:
            descriptor.source = (own, source[1])
        else:
            descriptor.target = (own, target[1])

    def _towards(self, address: str) -> str:
        if address in self._addresses:
            return address
        wanted = int(IPv4Address(address))
        own = [each for each in self._all if each.netmask]
        for each in own:
            if int(IPv4Address(each.address)) & each.netmask == wanted & each.netmask:
                return each.address
        return next((each.address for each in own if each.name != _LOOPBACK), _ANY)
