"""Real calls that open nothing: those that the kernel filters matter to no rule."""

import random
from collections import Counter

from processor.detection.detector import Detector
from processor.detection.view import BatchView
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from tests.live.collector.watching import Watching, watching
from tests.unit.processor.plain_rules import DetectionRule

TYPES = ("dup", "dup2", "dup3", "socket", "accept4", "sendto", "connect", "ptrace", "prctl", "setns", "unshare", "kill")
ACTIONS = """
import ctypes, os, random, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
chance = random.Random(int(sys.argv[1]))
PLACES = [
    (socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_INET6, ("::ffff:127.0.0.1", 9)), (socket.AF_UNIX, "\\0none")
]
spare = os.open("/dev/null", os.O_RDWR)
def connection(family, address):
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind(address); server.listen()
        client.connect(server.getsockname())
        peer = libc.accept4(server.fileno(), None, None, 0)
        libc.dup2(peer, chance.choice([spare, 90, 91]))
        os.close(peer)
def datagram(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        try: one.sendto(b"x", address)
        except OSError: pass
def act():
    kind = chance.randrange(10)
    if kind == 0: connection(socket.AF_INET, (chance.choice(["127.0.0.1", "127.0.0.9"]), 0))
    elif kind == 1: connection(socket.AF_INET6, ("::1", 0))
    elif kind == 2: connection(socket.AF_UNIX, "\\0lanner-%d-%d" % (os.getpid(), chance.randrange(10**9)))
    elif kind == 3: datagram(*chance.choice(PLACES))
    elif kind == 4: libc.dup2(chance.choice([spare, 999]), chance.choice([0, 90, 91]))
    elif kind == 5: libc.ptrace(chance.choice([1, 3, 16, 0x4206, 0xFFFF]), 0, 0, 0)
    elif kind == 6: libc.prctl(chance.choice([4, 15, 38, 3]), chance.choice([b"renamed", b"x" * 20]), 0, 0, 0)
    elif kind == 7: libc.syscall(308, chance.choice([spare, 999]), chance.choice([0, 0x20000, 0x10000000]))
    elif kind == 8: libc.unshare(chance.choice([0, 0x200, 0x400, 0x40000]))
    else: libc.kill(os.getpid(), 0)
for turn in range(2):
    for _ in range(60): act()
    if os.fork():
        os.wait(); sys.exit()
    os.setresuid(12345, 12345, 12345)
"""
CHECKS = (
    *(
        "evt.failed = true",
        "evt.failed = false",
        "evt.rawres >= 0",
        "evt.rawres in (0, 90)",
        "evt.res = EBADF",
        "fd.num > 5",
    ),
    *("user.uid = 0", "user.uid != 0", "user.uid in (12345, 7)", "evt.res startswith E", "not evt.rawres = 0"),
    *("fd.type in (ipv4, ipv6)", "fd.type = unix", "fd.typechar = 6", "fd.typechar = f", "fd.sockfamily = ip"),
    *("fd.l4proto = tcp", "fd.l4proto = udp", "fd.sip = 127.0.0.1", "fd.snet = 127.0.0.0/8", "fd.cip = 127.0.0.1"),
    *("fd.cnet in (10.0.0.0/8, 127.0.0.0/24)", "fd.cport > 0", "fd.lip = 127.0.0.9", "fd.sport exists"),
    *("evt.arg.request contains PTRACE_ATTACH", "evt.arg.request in (PTRACE_SEIZE, PTRACE_PEEKUSR)"),
    *("evt.arg.domain contains AF_INET", "evt.arg.option = PR_SET_NAME", "evt.arg.flags contains CLONE_FS"),
    *(
        "evt.arg.nstype contains CLONE_NEW",
        "proc.name startswith python",
        "container.id = host",
        "container.id != host",
    ),
)


def random_rules(chance: random.Random) -> list[str]:
    """Return rules of random checks, joined and negated at random."""

    def check() -> str:
        text = chance.choice(CHECKS)
        return f"not {text}" if chance.random() < 0.25 and not text.startswith("not") else text

    def rule() -> str:
        types = ", ".join(chance.sample(TYPES, chance.randint(1, 3)))
        joined = f" {chance.choice(['and', 'and', 'and', 'or'])} ".join(check() for _ in range(chance.randint(1, 3)))
        return f"evt.type in ({types}) and proc.pid != 0 and ({joined})"

    return [rule() for _ in range(6)]


def alerts_of(
    watch: Watching, seed: int, rules: list[str], *, pushdown: bool
) -> tuple[Counter[tuple[object, ...]], int]:
    """Count the matches of each rule in the actions of a seed, and the filtered events."""
    conditions = [parse(rule) for rule in rules]
    detector = Detector(
        [DetectionRule(text, tree, "%proc.args") for text, tree in zip(rules, conditions, strict=True)],
        RulesetOptions(rule_matching="all"),
    )
    pushdown_filter = derive(conditions, TYPES) if pushdown else None
    watch.collector.watch(TYPES if pushdown_filter is None else pushdown_filter.events, pushdown_filter)
    watch.settle()
    watch.batches.clear()
    before = watch.collector.counters()["filtered"]
    watch.run("/usr/bin/python3", "-I", "-c", ACTIONS, str(seed))
    filtered = watch.collector.counters()["filtered"] - before
    alerts = [alert for batch in watch.batches for alert in detector.process(BatchView(batch))]
    ours = [alert for alert in alerts if ACTIONS[:40] in str(alert.output_fields["proc.args"])]
    return Counter((each.rule, each.event.get("evt.type"), each.event.get("user.uid")) for each in ours), filtered


def test_the_same_alerts_come_with_and_without_pushdown() -> None:
    """Random rules; sockets of all families, results, requests, flags and users."""
    total = filtered = 0
    with watching(*TYPES) as watch:
        for seed in range(5):
            rules = random_rules(random.Random(seed))
            without, _ = alerts_of(watch, seed, rules, pushdown=False)
            with_filter, left_out = alerts_of(watch, seed, rules, pushdown=True)
            assert with_filter == without
            total += without.total()
            filtered += left_out

    assert total > 100
    assert filtered > 50
