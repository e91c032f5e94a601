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
        """Fill in the source address of a socket that was not bound to one."""
        source, target = descriptor.source, descriptor.target
        if source is not None and target is not None and source[0] == _ANY and ":" not in target[0]:
            descriptor.source = (self._towards(target[0]), source[1])
            descriptor.name_socket()

    def _towards(self, address: str) -> str:
        if address in self._addresses:
            return address
        wanted = int(IPv4Address(address))
        own = [each for each in self._all if each.netmask]
        for each in own:
            if int(IPv4Address(each.address)) & each.netmask == wanted & each.netmask:
                return each.address
        return next((each.address for each in own if each.name != _LOOPBACK), _ANY)
