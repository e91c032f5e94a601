import pytest

from collector.processes.parts import (
    Credentials,
    ExecCache,
    ExecutedProgram,
    credentials_of,
    is_exe_writable,
    program_of,
)
from collector.records.types import ExecParts
from tests.unit.collector.processes.synthetic import execution, identity

OWN = Credentials(1000, 1000, 0)


@pytest.mark.parametrize(
    ("mode", "owner", "group", "credentials", "expected"),
    [
        (0o755, 0, 0, OWN, False),
        (0o755, 1000, 1000, OWN, True),
        (0o555, 1000, 1000, OWN, True),  # the owner may chmod
        (0o775, 0, 50, Credentials(1000, 50, 0), True),
        (0o775, 0, 50, Credentials(1000, 51, 0), False),
        (0o757, 0, 0, OWN, True),
        (0o755, 0, 0, Credentials(1000, 1000, 1 << 1), True),  # CAP_DAC_OVERRIDE
        (0o755, 0, 0, Credentials(1000, 1000, 1 << 3), True),  # CAP_FOWNER
        (0o755, 0, 0, Credentials(1000, 1000, 1 << 0), False),  # CAP_CHOWN alone
        (0o755, 0, 0, Credentials(1000), None),
        (None, 0, 0, OWN, None),
    ],
)
def test_who_may_write_an_executable(
    mode: int | None, owner: int, group: int, credentials: Credentials, *, expected: bool | None
) -> None:
    """By owner, group, others and capabilities; unknown if a needed fact is missing."""
    program = ExecutedProgram(exe_mode=mode, exe_uid=owner, exe_gid=group)

    assert is_exe_writable(program, credentials) is expected


def test_similar_execs_share_program_and_credentials() -> None:
    """Thousands of processes that ended can still be looked up, and many of them ran the same program."""
    cache, parts = ExecCache(), ExecParts((), ())
    first, second, other = (execution(identity(pid), "id") for pid in (10, 20, 30))
    first.parts = second.parts = parts

    assert cache.of(first) == cache.of(other) == (program_of(first), credentials_of(first.state))
    assert cache.of(second) is cache.of(first)
    assert cache.of(other) is not cache.of(first)
