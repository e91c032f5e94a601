"""Writes exceptions as text of a rule file, with values that whoever causes an alert chooses. Pure.

The loader copies an exception's values into the condition as they are: without quotation marks, a file named
`x)or(evt.num>=0` would excuse everything.
"""

import re
from collections.abc import Collection, Sequence

from processor.language.printer import print_value, quote
from schemas.yaml.writing import yaml_scalar

_WORDS = re.compile(r"(?<!\\)[A-Za-z0-9_.-]+")


def exception_lines(name: str, conditions: Sequence[tuple[str, str, str]], lists: Collection[str]) -> list[str]:
    """Return the lines of one exception, as an item of `exceptions`.

    Args:
        name: its name.
        conditions: field, operator and value.
        lists: names of the lists of the rules, which stand for their items wherever they are a word.
    """
    fields, operators = (
        ", ".join(map(yaml_scalar, column))
        for column in ([field for field, _, _ in conditions], [operator for _, operator, _ in conditions])
    )
    return [
        f"    - name: {name}",
        f"      fields: [{fields}]",
        # Quoted: a plain = is not a text in YAML 1.1.
        f"      comps: [{operators}]",
        "      values:",
        values_line([value for _, _, value in conditions], lists),
    ]


def values_line(values: Sequence[str], lists: Collection[str]) -> str:
    """Return the line of one entry of an exception's values."""
    return f"        - [{', '.join(yaml_scalar(literal(value, lists)) for value in values)}]"


def literal(text: str, lists: Collection[str]) -> str:
    """Return a text as a condition writes it, so that it stands for itself.

    Args:
        text: an attacker may have chosen it.
        lists: names that would be replaced, also between quotes.
    """
    if not any(word in lists for word in _WORDS.findall(text)):
        return print_value(text)
    return _WORDS.sub(
        lambda word: f"\\x{ord(word[0][0]):02x}{word[0][1:]}" if word[0] in lists else word[0], quote(text)
    )
