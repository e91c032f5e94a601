"""Isolates a container's or the host's network by nftables, and releases it.

A set of the kernel has elements that time out, and packets are dropped while an element is in it. So the isolation ends
by itself, even if all of Lanner has ended before.
"""

import contextlib
import hashlib
import math
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fcntl import ioctl
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from collector.actions.containers import PROC, ContainerOf, all_pids, container_processes, open_process
from collector.actions.effect import ActionRefused, Effect, TargetGone, UndoFacts
from collector.processes.container_names import container_of
from collector.procfs.foreign_files import closing, read_below
from collector.procfs.parse import parse_cgroup, text_of
from foundation.text import count_of, printable
from schemas.action import ActionIntent

TABLE = "lanner_isolation"
# Before connection tracking (-200) and raw rules (-300), so that connections that exist are cut as well.
_PRIORITY = -350

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NFT = tuple(map(Path, ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft")))
_NSENTER = Path("/usr/bin/nsenter")
_SECONDS = 10
_MAX_NAMESPACES = 16
_MAX_SERVERS = 3
"""As many name servers as a resolver uses. Source: MAXNS in resolv.h."""
_MAX_RESOLV_CONF = 16 << 10
_DEVICE = re.compile(r"[A-Za-z0-9_.@-]{1,15}\Z")
_CAPABILITIES = re.compile(rb"^Cap(?:Prm|Bnd):\s*([0-9a-f]+)", re.MULTILINE)
_NET_ADMIN, _NET_RAW = 1 << 12, 1 << 13
# Source: include/uapi/linux/nsfs.h.
_NS_GET_USERNS = 0xB701


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


@dataclass(frozen=True, slots=True)
class _Namespace:
    """An open network namespace."""

    descriptor: int
    inode: int
    devices: tuple[str, ...] = ()
    """Names of its network devices, without loopback."""


class NetworkIsolation:
    """Isolates networks: all packets are dropped except those of loopback and of what stays reachable.

    Args:
        reachable: networks, such as 10.0.0.0/24.
        reach_dns: whether name servers stay reachable.
        brokers: returns addresses and ports that an isolated host still reaches.
        container_of: returns the container that a cgroup's path names.

    Raises:
        ActionRefused: a text in reachable is no network.
    """

    def __init__(
        self,
        reachable: Iterable[str] = (),
        *,
        reach_dns: bool = False,
        brokers: Callable[[], Collection[tuple[str, int]]] = tuple,
        container_of: ContainerOf = container_of,
    ) -> None:
        self._networks = tuple(map(_network, reachable))
        self._reach_dns = reach_dns
        self._brokers = brokers
        self._container_of = container_of

    def do(self, intent: ActionIntent) -> Effect:
        """Isolate a container or the host; see HostAction."""
        # Names can't be looked up any longer once it is isolated, so extending uses these.
        brokers = tuple(self._brokers()) if intent.target == "host" else ()
        text, inodes = self._isolate(intent, intent.lease, brokers)
        return Effect(
            text,
            {
                "namespaces": [str(each) for each in inodes],
                "brokers": [f"{port} {address}" for address, port in brokers],
            },
        )

    def extend(self, intent: ActionIntent, facts: UndoFacts, lease: int) -> None:
        """Isolate it for so many nanoseconds from now on."""
        stored = facts.get("brokers")
        split = (each.split() for each in (stored if isinstance(stored, list) else ()))
        self._isolate(intent, lease, [(address, int(port)) for port, address in split])

    def undo(self, intent: ActionIntent, facts: UndoFacts) -> str:
        """Release what an action isolated; what another action isolated since then stays so."""
        inodes = facts.get("namespaces")
        wanted = {int(each) for each in inodes} if isinstance(inodes, list) else set()
        found = released = 0
        with _namespaces_by_inode(wanted) as spaces:
            for space in spaces:
                found += 1
                released += _delete(space, "inet", intent)
                _delete(space, "netdev", intent)
        if not found:
            raise TargetGone("its network namespace no longer exists")
        return "released its network" if released else "its network was released already"

    def _isolate(self, intent: ActionIntent, lease: int, brokers: Collection[tuple[str, int]]) -> tuple[str, list[int]]:
        with contextlib.ExitStack() as stack:
            servers = _name_servers(Path("/"), is_trusted=True) if self._reach_dns else set()
            if intent.target == "host":
                spaces, sharing = [stack.enter_context(_host_namespace())], _Sharing()
            else:
                spaces, own_servers = self._namespaces(intent, stack)
                servers |= own_servers
                sharing = self._sharing(spaces)
            for space in spaces:
                _check_unused(space, intent)
            is_raw_cut = True
            try:
                for space in spaces:
                    _run(space, inet_script(intent, lease, self._rules(brokers, servers)))
                    if space.devices:
                        is_raw_cut &= _is_accepted(
                            space, netdev_script(intent, lease, space.devices, self._rules(brokers, servers))
                        )
            except BaseException:
                for space in spaces:
                    for family in ("inet", "netdev"):
                        with contextlib.suppress(OSError, ActionRefused):
                            _delete(space, family, intent)
                raise
            return self._text(intent, brokers, servers, sharing, is_raw_cut=is_raw_cut), [each.inode for each in spaces]

    def _namespaces(self, intent: ActionIntent, stack: contextlib.ExitStack) -> tuple[list[_Namespace], set[Address]]:
        """Return the network namespaces of a container's processes: one of them could have made another as a decoy."""
        with _host_namespace() as host:
            host_inode = host.inode
        found: dict[int, _Namespace] = {}
        servers: set[Address] = set()
        for process in container_processes(intent.container_id, self._container_of):
            # It may end at any time.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), contextlib.ExitStack() as opened:
                descriptor = opened.enter_context(closing(process.open("ns/net")))
                inode = os.fstat(descriptor).st_ino
                if inode == host_inode:
                    raise ActionRefused("it uses the host's network, so only the host can be isolated")
                if inode not in found:
                    found[inode] = _Namespace(descriptor, inode, _devices(process.read("net/dev")))
                    stack.push(opened.pop_all())
                    if self._reach_dns and not servers:
                        servers = _name_servers(PROC / str(process.pid) / "root", is_trusted=False)
            if len(found) > _MAX_NAMESPACES:
                raise ActionRefused(f"it has more than {_MAX_NAMESPACES} network namespaces")
        if not found:
            raise TargetGone("the container has no process any more")
        return list(found.values()), servers

    def _sharing(self, spaces: Collection[_Namespace]) -> "_Sharing":
        """Find out who else has these networks. Raises ActionRefused if one of them may lift the isolation."""
        owners = {each.inode: _owner(each) for each in spaces}
        with _host_namespace("user") as host:
            host_users = host.inode
        containers, has_raw = set(), False
        for pid in all_pids():
            with contextlib.suppress(OSError), open_process(pid) as process:
                inode = os.stat("ns/net", dir_fd=process.folder).st_ino
                if inode not in owners:
                    continue
                container = self._container_of(parse_cgroup(process.read("cgroup")) or "")
                # Capabilities in a user namespace below the network's owner don't count for it.
                users = os.stat("ns/user", dir_fd=process.folder).st_ino
                if container is None or users not in {owners[inode], host_users}:
                    continue
                containers.add(container.key)
                capabilities = 0
                for each in _CAPABILITIES.findall(process.read("status")):
                    capabilities |= int(each, 16)
                if capabilities & _NET_ADMIN:
                    raise ActionRefused(
                        f"a process of it or of its pod (pid {pid}) may have CAP_NET_ADMIN and could lift the "
                        "isolation: freeze the container instead, or isolate the host"
                    )
                has_raw |= bool(capabilities & _NET_RAW)
        return _Sharing(len(containers), has_raw)

    def _rules(self, brokers: Iterable[tuple[str, int]], servers: Iterable[Address]) -> "Reachable":
        tcp = [(ip_address(address), f"tcp {{port}} {int(port)}") for address, port in brokers]
        dns = [(address, "meta l4proto {{ tcp, udp }} th {port} 53") for address in sorted(servers, key=str)]
        return Reachable(self._networks, (*tcp, *dns))

    def _text(
        self,
        intent: ActionIntent,
        brokers: Collection[tuple[str, int]],
        servers: Collection[Address],
        sharing: "_Sharing",
        *,
        is_raw_cut: bool,
    ) -> str:
        still = [str(each) for each in self._networks]
        still += ["the brokers"] if brokers else []
        still += [f"name server {each}" for each in sorted(map(str, servers))]
        text = f"isolated the network of the {intent.target}"
        text += f"; reachable: {', '.join(still)}" if still else "; only loopback is left"
        if sharing.containers > 1:
            text += f"; {count_of(sharing.containers, 'container')} of its pod share this network"
        if sharing.has_raw and not is_raw_cut:
            text += "; raw packets still leave: a process may have CAP_NET_RAW, and this kernel is older than 5.16"
        return text


@dataclass(frozen=True, slots=True)
class _Sharing:
    """Who has an isolated network."""

    containers: int = 0
    has_raw: bool = False
    """True if one of them may send raw packets, which bypass the rules for IP."""


def _check_unused(space: _Namespace, intent: ActionIntent) -> None:
    """Raise ActionRefused if another action isolates this network now."""
    done = _nft(space, ("list", "table", "inet", TABLE))
    if done.returncode == 0 and " expires " in done.stdout and mark_of(intent) not in done.stdout:
        raise ActionRefused("another action isolates this network already: extend that one")


def _delete(space: _Namespace, family: str, intent: ActionIntent) -> bool:
    """Delete the table of an action; return False if it isn't there, or is another action's."""
    script = f"delete chain {family} {TABLE} {mark_of(intent)}\ndelete table {family} {TABLE}\n"
    done = _nft(space, ("-f", "-"), script)
    if done.returncode and "No such file or directory" not in done.stderr:
        raise OSError(_reason(done))
    return done.returncode == 0


def _is_accepted(space: _Namespace, script: str) -> bool:
    return _nft(space, ("-f", "-"), script).returncode == 0


def _run(space: _Namespace, script: str) -> None:
    done = _nft(space, ("-f", "-"), script)
    if done.returncode:
        raise ActionRefused(_reason(done))


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    first = printable(next((line for line in done.stderr.splitlines() if line.strip()), "no reason stated"))
    hint = "; is the kernel's module nf_tables there?" if "not support" in first or "cache" in first else ""
    return f"nft failed: {first[:300]}{hint}"


def _nft(space: _Namespace, arguments: Iterable[str], script: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the host's nft in a network namespace. Only the network is the container's: no file of it is read."""
    program = next((each for each in NFT if each.exists()), None)
    if program is None:
        raise ActionRefused("the program nft isn't installed on this host: install the package nftables")
    command = [str(_NSENTER), f"--net=/proc/self/fd/{space.descriptor}", "--", str(program), *arguments]
    try:
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            pass_fds=(space.descriptor,),
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise ActionRefused(f"{_NSENTER} isn't there: install the package util-linux") from None
    except subprocess.TimeoutExpired:
        raise OSError(f"nft took longer than {_SECONDS} s") from None


@contextlib.contextmanager
def _host_namespace(kind: str = "net") -> Iterator[_Namespace]:
    """Open a namespace of the host: the first process's, which root may not always look at, else this one's."""
    try:
        descriptor = os.open(PROC / "1/ns" / kind, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        descriptor = os.open(PROC / "self/ns" / kind, os.O_RDONLY | os.O_CLOEXEC)
    with closing(descriptor):
        yield _Namespace(descriptor, os.fstat(descriptor).st_ino)


@contextlib.contextmanager
def _namespaces_by_inode(inodes: set[int]) -> Iterator[list[_Namespace]]:
    """Open namespaces that some process has, by their numbers, which later namespaces may have again."""
    with contextlib.ExitStack() as stack:
        found: dict[int, _Namespace] = {}
        for pid in all_pids():
            with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
                path = PROC / str(pid) / "ns/net"
                if path.stat().st_ino in inodes - found.keys():
                    descriptor = opened.enter_context(closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
                    inode = os.fstat(descriptor).st_ino
                    found[inode] = _Namespace(descriptor, inode)
                    stack.push(opened.pop_all())
        yield list(found.values())


def _owner(space: _Namespace) -> int:
    """Return the inode of the user namespace that owns a network namespace. Source: ioctl_ns(2)."""
    with closing(ioctl(space.descriptor, _NS_GET_USERNS)) as owner:
        return os.fstat(owner).st_ino


def _devices(text: bytes) -> tuple[str, ...]:
    """Return the names in a process's net/dev. Source: proc_pid_net(5)."""
    names = (text_of(line.partition(b":")[0].strip()) for line in text.splitlines() if b":" in line)
    return tuple(name for name in names if name != "lo" and _DEVICE.match(name))


def _name_servers(root: Path, *, is_trusted: bool) -> set[Address]:
    """Return the name servers that a resolv.conf names.

    Whoever is in a container may name any address in its own, so only private ones count there. Source: resolv.conf(5).
    """
    found: list[Address] = []
    with contextlib.suppress(OSError), closing(os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as opened:
        # systemd-resolved itself, which /etc/resolv.conf names by a loopback address, asks those of the second file.
        for path in ("etc/resolv.conf", *(["run/systemd/resolve/resolv.conf"] if is_trusted else [])):
            text = read_below(opened, path, limit=_MAX_RESOLV_CONF)
            for line in text_of(text[0]).splitlines() if text is not None else ():
                words = line.split()
                if words[:1] == ["nameserver"] and len(words) > 1:
                    with contextlib.suppress(ValueError):
                        found.append(ip_address(words[1].partition("%")[0]))
    usable = [each for each in found if not (each.is_loopback or each.is_unspecified)]
    return set([each for each in usable if is_trusted or each.is_private][:_MAX_SERVERS])


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ActionRefused(f"{printable(text)} is no network such as 10.0.0.0/24") from None
