"""Finds a rule by the name that a user typed."""

import difflib
from collections.abc import Iterable

from lanner.errors import BadInput
from processor.loading import Rule


def choose_rule(rules: Iterable[Rule], name: str) -> Rule:
    """Find a rule by name, ignoring case. Raises BadInput with the nearest name."""
    by_name = {rule.name: rule for rule in rules}
    found = by_name.get(name) or next((rule for rule in by_name.values() if rule.name.lower() == name.lower()), None)
    if found is None:
        close = difflib.get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " `lanner rules list` lists them."
        raise BadInput(f"there is no rule {name!r}.{hint}")
    return found
