"""Cases become words for the actor, or an error that names what the runner doesn't support."""

import pytest

from tests.live.evtgen.plans import Where, plan
from tests.live.evtgen.system_calls import Unplayable, call_words, number, sockaddr

USERS = {"root": (0, 0), "daemon": (1, 1)}


def slot(_: str) -> int:
    """Return the same slot for every name."""
    return 7


def test_openat2_takes_its_flags_from_how() -> None:
    """The structure of three 64-bit numbers and its size follow the path."""
    words = call_words("openat2", {"pathname": "/x", "how": {"flags": "O_WRONLY|O_CREAT", "mode": 0o644}}, slot, "op")

    how = (0o101).to_bytes(8, "little") + (0o644).to_bytes(8, "little") + bytes(8)
    assert words == ("call", "7", "openat2", "i:-100", "s:/x", f"b:{how.hex()}", "i:24")


def test_arguments_are_found_in_any_case_and_references_become_slots() -> None:
    """The cases write oldFd where the kernel writes oldfd."""
    assert call_words("dup2", {"oldFd": "${ cs.client.fd }", "newFd": 1}, slot, "d") == (
        *("call", "7", "dup2"),
        *("v:7", "i:1"),
    )


def test_addresses_are_as_the_kernel_takes_them() -> None:
    """Family in the host's order, port and address in the network's."""
    assert sockaddr("203.0.113.10:443") == b"\2\0\1\xbb\xcb\0\x71\x0a" + bytes(8)
    assert sockaddr("[::1]:9999") == b"\x0a\0\x27\x0f" + bytes(4 + 15) + b"\1" + bytes(4)
    assert sockaddr("@name") == b"\1\0\0name\0"


def test_modes_may_be_octal_text() -> None:
    """As C writes them."""
    assert number("0644") == 0o644


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("no_such_call", {}, "no signature of no_such_call"),
        ("open", {"flags": 0}, "open without pathname"),
        ("open", {"pathname": "/x", "flags": 0, "colour": 1}, "open with colour"),
        ("open", {"pathname": "/x", "flags": "O_NOTHING"}, "no number called O_NOTHING"),
    ],
)
def test_call_that_is_not_understood_reports_it(name: str, arguments: dict[str, object], problem: str) -> None:
    """Nothing is left out in silence: the case would test something else."""
    with pytest.raises(Unplayable, match=problem):
        call_words(name, arguments, slot, "op")


def test_place_follows_the_context() -> None:
    """The host, a privileged container, which is what an empty one means, or an ordinary one."""
    for container, where in (
        ({}, Where.HOST),
        ({"container": {}}, Where.PRIVILEGED),
        ({"container": {"privileged": False}}, Where.UNPRIVILEGED),
    ):
        assert plan({"id": "x", "context": container}, USERS).where is where


def test_user_that_the_host_lacks_is_played_in_a_container() -> None:
    """Making a user on the host would change it."""
    case = {"id": "x", "context": {"processes": [{"name": "login", "user": "somebody"}]}}

    assert plan(case, USERS).where is Where.PRIVILEGED


@pytest.mark.parametrize(
    "context",
    [{"container": {"image": "x"}}, {"processes": [{"name": "x", "colour": 1}]}, {"processes": [{"name": "a/b"}]}],
)
def test_context_that_is_not_understood_reports_it(context: dict[str, object]) -> None:
    """As with calls."""
    with pytest.raises(Unplayable):
        plan({"id": "x", "context": context}, USERS)
