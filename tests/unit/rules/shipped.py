"""The shipped rules' conditions, put together by the slow and obvious way: text for lists, trees for macros."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from processor.compiler.mapping import compile_mapping
from processor.language.parser import parse
from processor.loading.macros import MacroTable, MacroText

RULES = Path(__file__).parents[3] / "rules"


@cache
def items() -> tuple[dict[str, Any], ...]:
    """Give all items of the shipped files in the order in which they are loaded."""
    return tuple(item for path in sorted(RULES.glob("*.yaml")) for item in yaml.safe_load(path.read_text()))


def rules() -> dict[str, dict[str, Any]]:
    """Give the shipped rules by name."""
    return {item["rule"]: item for item in items() if "rule" in item}


@cache
def judges() -> Mapping[str, Callable[[Mapping[str, Any]], bool]]:
    """Compile each shipped rule's condition into a judge of events given as mappings."""
    lists: dict[str, str] = {}
    macros = MacroTable(frozenset())
    for index, item in enumerate(items()):
        if "list" in item:
            lists[item["list"]] = with_lists(", ".join(map(quoted, item["items"])), lists)
        elif "macro" in item:
            macros.add(MacroText(item["macro"], parse(with_lists(item["condition"], lists)), index, index))
            macros.resolve_macro(item["macro"])
    conditions = {name: parse(with_lists(rule["condition"], lists)) for name, rule in rules().items()}
    return {name: compile_mapping(macros.resolve(condition)) for name, condition in conditions.items()}


def quoted(item: str) -> str:
    """Quote an item with a blank or parenthesis, as it would have to be in a condition."""
    return f'"{item}"' if re.search(r"[\s()]", item) and not item.startswith('"') else item


def with_lists(text: str, lists: Mapping[str, str]) -> str:
    """Put lists in the place of their names; an empty one takes a comma with it."""
    for name, content in lists.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", content, text)
        text = re.sub(r",\s*,", ",", text)
        text = re.sub(r",\s*\)", ")", re.sub(r"\(\s*,", "(", text))
    return text
