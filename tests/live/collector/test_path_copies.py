"""The kernel's copies of paths, where programs at functions are refused. tests/guest has a kernel that permits them."""

import os
from collections.abc import Iterator

import pytest

from collector.bpf.build import compiled
from collector.bpf.program import _CALLS, PathCopies, RingSizes, load
from collector.kernel import bpf_syscall
from collector.kernel.offsets import SYS_EXIT
from foundation.errors import EnvironmentUnsupported
from tests.live.compiled import bytecode
from tests.live.needs import lacking

RETURN_0 = bytes.fromhex("b7000000 00000000 95000000 00000000")
EVERY_PATH = {(event, at) for event, places in _CALLS.items() for at in places}


@pytest.fixture
def useless() -> Iterator[PathCopies]:
    """Return copies whose program for putname() does nothing."""
    try:
        compilation = compiled(bytecode())
        program, loaded = load(compilation, RingSizes())
    except EnvironmentUnsupported as missing:
        lacking(f"{missing.reason}: {missing.remedy}")
    program.path_copies._forget_putname()
    program.path_copies._putname = bpf_syscall.load_program("nothing", RETURN_0, compilation.numbers[SYS_EXIT])
    yield program.path_copies
    program.close()
    for descriptor in loaded.values():
        os.close(descriptor)


def test_a_program_that_misses_paths_is_not_used(useless: PathCopies) -> None:
    """The slower one sees them all."""
    useless.switch(enabled=True)

    assert useless._seen() == EVERY_PATH
    assert useless._putname is None


def test_nothing_is_copied_while_no_rule_needs_it(useless: PathCopies) -> None:
    """It can be switched on again."""
    for _ in range(2):
        useless.switch(enabled=True)
        useless.switch(enabled=False)
        assert useless._seen() == set()
