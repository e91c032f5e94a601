"""Host names in rules: which ones the rules ask about, and which of them an address has.

As in Falco, a name in a condition (fd.sip.name = example.org) is turned into addresses, and the addresses are compared.
No address of an event is ever asked about: that would tell a name server, and whoever owns the address, what we saw.
Source: libsinsp dns_manager.cpp, sinsp_filtercheck_fd.cpp (compare_domain).
"""

from collections.abc import Iterable, Mapping

from processor.compiler.batch import checks_of
from processor.compiler.checks import literals
from processor.compiler.values.literals import canonical_address
from processor.language.ast import Field, Node

FIELDS = frozenset({"fd.cip.name", "fd.sip.name", "fd.lip.name", "fd.rip.name"})
_EQUALITY = frozenset({"=", "==", "!=", "in", "intersects"})
MAX_NAMES = 1000
"""Names that are asked about; a list of a million domains belongs in a name server, not in a rule."""
MAX_NAME = 253
"""Characters of a host name. Source: RFC 1035, section 2.3.4."""


def names_asked(conditions: Iterable[Node]) -> tuple[str, ...]:
    """Give the host names that conditions compare addresses' names with, each once, in their order.

    Args:
        conditions: macros resolved, without errors.
    """
    found: dict[str, None] = {}
    for condition in conditions:
        for check in checks_of(condition):
            if isinstance(check.left, Field) and check.left.name in FIELDS and check.operator in _EQUALITY:
                found.update(dict.fromkeys(value.text for value in literals(check) if is_host_name(value.text)))
    return tuple(found)[:MAX_NAMES]


def is_host_name(text: str) -> bool:
    """Tell whether a text can be asked about: ASCII letters, digits, hyphens, underscores and dots, and no address."""
    allowed = text.isascii() and all(char.isalnum() or char in "-_." for char in text)
    return allowed and 0 < len(text) <= MAX_NAME and text.strip(".") != "" and canonical_address(text) is None


def names_by_address(answers: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Turn answers round.

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
