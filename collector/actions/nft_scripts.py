"""Scripts of nftables that isolate a network until an element of a set times out. Pure."""

import hashlib
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from schemas.action import ActionIntent

TABLE = "lanner_isolation"
# Before connection tracking (-200) and raw rules (-300), so that connections that exist are cut as well.
_PRIORITY = -350

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Reachable:
    """What stays reachable."""

    networks: tuple[Network, ...]
    services: tuple[tuple[Address, str], ...]
    """Addresses, each with a match of a port that is still to be named sport or dport."""

    def accepting(self, side: str) -> list[str]:
        """Return the rules for packets from (s) or to (d) what is reachable."""
        rules = [f"{_family(each)} {side}addr {each} accept" for each in self.networks]
        rules += [
            f"{_family(each)} {side}addr {each} {match.format(port=f'{side}port')} accept"
            for each, match in self.services
        ]
        if any(each.version == 6 for each in (*self.networks, *(address for address, _ in self.services))):
            # Without neighbor discovery, no IPv6 address is reachable. Source: RFC 4861, which demands 255.
            kinds = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert"
            rules.append(f"ip6 hoplimit 255 icmpv6 type {{ {kinds} }} accept")
        return rules


def inet_script(intent: ActionIntent, lease: int, rules: Reachable) -> str:
    """Return the script that isolates: it replaces the table in one step, so extending is the same."""
    # A host loses its address, unless it can renew it.
    asks = ["udp sport 68 udp dport 67 accept", "udp sport 546 udp dport 547 accept"]
    answers = ["udp sport 67 udp dport 68 accept", "udp sport 547 udp dport 546 accept"]
    is_host = intent.target == "host"
    incoming = ['iif "lo" accept', *rules.accepting("s"), *(answers if is_host else ())]
    outgoing = ['oif "lo" accept', *rules.accepting("d"), *(asks if is_host else ())]
    drop = "meta nfproto @lease counter drop"
    time = _timeout(lease)
    return (
        f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n"
        f"set lease {{ type nf_proto; flags timeout; elements = {{ ipv4 {time}, ipv6 {time} }}; }}\n"
        f"chain {mark_of(intent)} {{ }}\n"
        f"{_chain('incoming', 'prerouting', incoming, drop)}{_chain('outgoing', 'output', outgoing, drop)}}}\n"
    )


def netdev_script(intent: ActionIntent, lease: int, devices: Collection[str], rules: Reachable) -> str:
    """Return the script that drops packets from packet sockets too, at the devices; inet's rules don't see these."""
    names = [f'"{each}"' for each in devices]
    elements = ", ".join(f"{each} {_timeout(lease)}" for each in names)
    body = ["meta protocol arp accept", *rules.accepting("d")]
    hook = f"egress devices = {{ {', '.join(names)} }}"
    return (
        f"table netdev {TABLE}\ndelete table netdev {TABLE}\ntable netdev {TABLE} {{\n"
        f"set lease {{ type iface_index; flags timeout; elements = {{ {elements} }}; }}\n"
        f"chain {mark_of(intent)} {{ }}\n"
        f"{_chain('leaving', hook, body, 'oif @lease counter drop')}}}\n"
    )


def _chain(name: str, hook: str, rules: Iterable[str], drop: str) -> str:
    lines = "\n".join((*rules, drop))
    return f"chain {name} {{ type filter hook {hook} priority {_PRIORITY}; policy accept;\n{lines}\n}}\n"


def _timeout(lease: int) -> str:
    # 0 would be no timeout.
    return f"timeout {max(1, math.ceil(lease / 1_000_000_000))}s"


def mark_of(intent: ActionIntent) -> str:
    """Return the name of an empty chain that identifies the action; an id can be any text."""
    return f"action_{hashlib.sha256(intent.id.encode('utf-8', 'replace')).hexdigest()[:24]}"


def _family(each: Address | Network) -> str:
    return "ip" if each.version == 4 else "ip6"
