"""The kernel side's source, compiled for this machine, compared with the tables and with the rules."""

import errno
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.pushdown import lay_out
from collector.records.types import Syscall
from processor.compiler.checks import errors
from processor.detection.detector import Detector
from processor.language.parser import parse
from processor.pushdown.derive import derive
from processor.rule import RulesetOptions
from tests.unit.collector.bpf.native import NativeKernel
from tests.unit.collector.calls import call, file, sock
from tests.unit.collector.kernel_filter import passes
from tests.unit.collector.random_calls import EVENTS, random_call, random_rule
from tests.unit.processor.plain_rules import DetectionRule
from tests.unit.processor.pushdown.test_derive import found

CALLS = 60


@pytest.fixture(scope="module", params=[True, False], ids=["typed", "untyped"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NativeKernel:
    """Return the program, compiled once for kernels with bpf_rdonly_cast and once for those without."""
    return NativeKernel(tmp_path_factory.mktemp("native"), has_cast=request.param)


def _opened(name: str, directory: str, path: str) -> Syscall:
    """Return an open that succeeded, by a name relative to the working directory."""
    return call("openat", [1], result=3, fd=3, file=file(path), path1=name, directory1=directory)


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=True), st.integers(0, 1))
def test_what_the_source_leaves_out_matters_to_no_rule(kernel: NativeKernel, chance: Random, generation: int) -> None:
    """It evaluates the tables correctly, beside those of another version, and passes each call that a rule matches."""
    rules = [random_rule(chance) for _ in range(5)]
    trees = [parse(rule) for rule in rules]
    assert not [error for tree in trees for error in errors(tree)]
    detector = Detector(
        [DetectionRule(rule, tree, "x") for rule, tree in zip(rules, trees, strict=True)],
        RulesetOptions(rule_matching="all"),
    )
    layout = lay_out(derive(trees, EVENTS))
    calls = [random_call(chance) for _ in range(CALLS)]
    kernel.put(None, EVENTS)
    reported = [kernel.call(made, is_multiplexed=bool(generation)) for made in calls]
    kernel.put(lay_out(derive([parse(random_rule(chance)) for _ in range(2)], EVENTS)), EVENTS, 1 - generation)
    kernel.put(layout, EVENTS, generation)

    for made, whole in zip(calls, reported, strict=True):
        assert whole is not None
        sent = kernel.call(made, is_multiplexed=bool(generation))
        assert sent == (whole if passes(layout, whole) else None)
        assert sent is not None or not found(detector, whole)


def test_changes_of_modes_without_the_bit_of_a_rule_are_left_out(kernel: NativeKernel) -> None:
    """A program that unpacks an archive changes thousands of modes."""
    rule = parse("evt.type in (chmod, fchmod) and evt.rawres = 0 and evt.arg.mode contains S_ISUID")
    kernel.put(lay_out(derive([rule], EVENTS)), EVENTS)

    for mode, is_sent in ((0o4755, True), (0o104000, True), (0o755, False), (0o2755, False)):
        assert (kernel.call(call("chmod", [0, mode], path1="/tmp/x")) is not None) == is_sent
        assert (kernel.call(call("fchmod", [3, mode])) is not None) == is_sent


@pytest.mark.parametrize(
    ("rule", "expected", "left_out"),
    [
        (
            "evt.type in (symlink, symlinkat) and evt.arg.target in (/etc/shadow, ../shadow)",
            [
                call("symlink", path1="/etc/shadow", path2="/tmp/x"),
                call("symlinkat", path1="../shadow", path2="x"),
                call("symlink", path1="/etc/shadow", path2="/tmp/x", is_compat=True),
            ],
            [call("symlink", path1="../lib", path2="/lib"), call("symlinkat", path1="//etc/shadow", path2="/x")],
        ),
        (
            "evt.type in (unlink, unlinkat) and fs.path.name startswith /var/log",
            [
                call("unlinkat", path1="messages", directory1="/var/log"),
                call("unlink", path1="messages", directory1="/var/log", result=-2),
                call("unlink", path1="/tmp/../var/log/messages"),
            ],
            [call("unlinkat", path1="messages", directory1="/tmp"), call("unlink", path1="/tmp/x")],
        ),
        (
            "evt.type in (open, openat) and fd.name in (/etc/sudoers, /x/bb/bb/cc)",
            [
                _opened("sudoers", "/etc", "/etc/sudoers"),
                _opened("harmless", "/etc", "/etc/sudoers"),
                _opened("sudoers", "/etc", "/tmp/harmless"),
                _opened("sudoers", "/etc", "/etc/sudoerS"),
                # Here /x/bb/bb is a symbolic link to its own directory: the path ends like the requested name.
                _opened("bb/cc", "/x/bb", "/x/bb/cc"),
                _opened("../sudoers", "/etc/x", "/etc/sudoers"),
            ],
            [
                _opened("passwd", "/etc", "/etc/passwd"),
                _opened("cc", "/x/bb", "/x/bb/cc"),
                _opened("bb/cc", "/x", "/x/bb/cc"),
                _opened("etc", "/", "/etc"),
                _opened("y" * 120, "/etc", "/etc/" + "y" * 120),
            ],
        ),
        (
            "evt.type in (link, linkat) and (evt.arg.oldpath = /etc/shadow or evt.arg.target = /etc/shadow)",
            [call("link", path1="/etc/shadow", path2="/tmp/x")],
            [call("link", path1="/etc/passwd", path2="/etc/x")],
        ),
        (
            "evt.type in (rename, renameat2, symlink) and fs.path.target startswith /usr/bin/",
            [
                call("rename", path1="/tmp/x", path2="/usr/bin/x"),
                call("renameat2", path1="/tmp/x", path2="xx", directory1="/usr/bin"),
                call("symlink", path1="../tmp/x", path2="/usr/bin/x"),
            ],
            [
                call("rename", path1="/tmp/x", path2="/tmp/y"),
                call("renameat2", path1="/tmp/x", path2="x/y", directory1="/usr"),
                call("symlink", path1="tmp/x", path2="/usr/lib/x"),
            ],
        ),
        (
            "evt.type in (ftruncate, fallocate) and fd.name = /var/log/auth.log",
            [call("ftruncate", [5], fd=5, file=file("/var/log/auth.log")), call("ftruncate", [5])],
            [call("ftruncate", [5], fd=5, file=file("/tmp/auth.log"))],
        ),
        (
            "evt.type in (setxattr, fsetxattr) and evt.arg.name = security.capability",
            [
                call("setxattr", path1="security.capability", path2="/tmp/x"),
                call("fsetxattr", [5], path1="security.capability", fd=5, file=file()),
            ],
            [
                call("setxattr", path1="security.selinux", path2="/tmp/x"),
                call("fsetxattr", [5], path1="user.x", fd=5, file=file()),
            ],
        ),
        (
            "evt.type in (open, openat2) and evt.is_open_setuid = true",
            [
                call("openat2", result=3, fd=3, file=file(mode=0o104755, is_created=True), path1="/tmp/x"),
                call("open", [0, 0o101], result=3, fd=3, file=file(mode=0o104755, is_created=True), path1="/tmp/x"),
            ],
            [
                call("openat2", result=3, fd=3, file=file(mode=0o104755), path1="/tmp/x"),
                call("open", [0, 0o101], result=3, fd=3, file=file(mode=0o100755, is_created=True), path1="/tmp/x"),
                call("open", [0, 1], result=3, fd=3, file=file(mode=0o104755, is_created=True), path1="/tmp/x"),
            ],
        ),
    ],
)
def test_calls_are_evaluated_by_their_paths(
    kernel: NativeKernel, rule: str, expected: list[Syscall], left_out: list[Syscall]
) -> None:
    """Texts as they are, the other paths joined with their directory, and those of opened and truncated files."""
    events = {*EVENTS, "fsetxattr"}
    kernel.put(lay_out(derive([parse(rule)], events)), events)

    assert all(kernel.call(made) is not None for made in expected)
    assert [kernel.call(made) for made in left_out] == [None] * len(left_out)


@pytest.mark.parametrize("result", [-512, -513, -514, -516])
@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (call("accept4"), None),
        (call("openat", [1], path1="/etc/shadow"), None),
        (call("finit_module", [3], fd=3, file=file("/tmp/x.ko")), -errno.EINTR),
        (call("connect", [3], fd=3, socket=sock()), None),
        (call("connect", [3], fd=3, socket=sock(1)), None),
        (call("connect", [3], fd=3, socket=sock(protocol=132)), -errno.EINPROGRESS),
        (call("connect", [3], fd=3, socket=sock(state=2)), -errno.EINPROGRESS),
    ],
)
@pytest.mark.parametrize("is_multiplexed", [False, True])
def test_an_interrupted_call_is_reported_if_it_may_have_acted(
    kernel: NativeKernel, made: Syscall, expected: int | None, result: int, is_multiplexed: bool
) -> None:
    """Without a note that TCP has begun a connection, none has begun; a module chooses its own result."""
    kernel.put(None, {*EVENTS, "accept4", "finit_module"})

    sent = kernel.call(replace(made, result=result, is_compat=is_multiplexed), is_multiplexed=is_multiplexed)

    assert (None if sent is None else sent.result) == expected


def test_a_path_below_another_root_matters_under_both_names(kernel: NativeKernel) -> None:
    """Inside of a chroot and outside; the record has the root as the directory that the path starts from."""
    rules = (
        "evt.type = rename and fs.path.target = /etc/shadow",
        "evt.type = openat and fd.name = /srv/base/etc/shadow",
    )
    kernel.put(lay_out(derive([parse(rule) for rule in rules], EVENTS)), EVENTS)
    replaced = call("rename", path1="/x", path2="/shadow")
    try:
        assert kernel.call(replaced) is None
        kernel.root = "/etc"
        sent = kernel.call(replaced)
        assert sent is not None
        assert (sent.directory1, sent.directory2) == ("/etc", "/etc")
        assert kernel.call(call("rename", path1="/x", path2="/etc/shadow")) is not None
        assert kernel.call(call("rename", path1="/x", path2="/passwd")) is None
        kernel.root = "/srv/base"
        assert kernel.call(call("openat", [-100], path1="/etc/shadow", result=-2)) is not None
        assert kernel.call(call("openat", [-100], path1="/etc/passwd", result=-2)) is None
    finally:
        kernel.root = "/"
