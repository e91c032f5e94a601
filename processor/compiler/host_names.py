"""Host names in rules: the names that conditions use, and the names of each address.

As in Falco, a name in a condition (fd.sip.name = example.org) is resolved to addresses, and addresses are compared.
Addresses of events are never looked up: that would disclose them to a name server and to the address's owner.
Source: libsinsp dns_manager.cpp, sinsp_filtercheck_fd.cpp (compare_domain).
"""

from collections.abc import Iterable, Mapping

from processor.language.ast import Field, Node, checks, literals
from schemas.text.addresses import canonical_address

FIELDS = frozenset({"fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"})
_EQUALITY = frozenset({"=", "==", "!=", "in", "intersects"})
MAX_NAMES = 1000
"""Limit on resolved names; a list of a million domains belongs in a name server, not in a rule."""
MAX_NAME = 253
"""Maximum length of a host name in characters. Source: RFC 1035, section 2.3.4."""


def names_to_resolve(conditions: Iterable[Node]) -> tuple[str, ...]:
    """Return the distinct host names that conditions compare with the names of addresses, in order.

    Args:
        conditions: the trees, with macros resolved and without errors.
    """
    found: dict[str, None] = {}
    for condition in conditions:
        for check in checks(condition):
            if isinstance(check.left, Field) and check.left.name in FIELDS and check.operator in _EQUALITY:
                found.update(dict.fromkeys(value.text for value in literals(check) if is_host_name(value.text)))
    return tuple(found)[:MAX_NAMES]


def is_host_name(text: str) -> bool:
    """Return whether a text can be resolved: ASCII letters, digits, `-`, `_` and dots, and not an address."""
    allowed = text.isascii() and all(char.isalnum() or char in "-_." for char in text)
    return allowed and 0 < len(text) <= MAX_NAME and text.strip(".") != "" and canonical_address(text) is None


def names_by_address(answers: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Invert the answers of name resolution.

    Args:
        answers: addresses by name.

    Returns:
        Names by address, in the order of the answers' names.
    """
    found: dict[str, dict[str, None]] = {}
    for name, addresses in answers.items():
        for address in addresses:
            canonical = canonical_address(address)
            if canonical is not None:
                found.setdefault(canonical, {})[name] = None
    return {address: tuple(names) for address, names in found.items()}
