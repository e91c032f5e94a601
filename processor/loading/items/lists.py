"""Lists: their items replace their names in the text of a condition before it is parsed.

Rules rely on textual substitution: a name is found between blanks, parentheses, commas and equal signs,
also inside quotes; an empty list removes one comma; an item that contains a blank is quoted.

Source: falco rule_loader_compiler.cpp (resolve_list, compile_list_infos).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from processor.loading.yaml.tracing import Edit, TracedText
from schemas.errors import LannerError

MAX_CONDITION = 1_000_000
"""Characters; lists that include each other could grow without limit."""

_BLANKS = " \t\n\r"
_DELIMITERS = frozenset(_BLANKS + "(),=")
_WORDS = re.compile(r"[^ \t\n\r(),=]+")


class ConditionTooLong(LannerError, ValueError):
    """Raised if a condition is longer than MAX_CONDITION."""


@dataclass(frozen=True, slots=True)
class ExpandedList:
    """A list's items, with lists among them expanded."""

    name: str
    items: tuple[str, ...]
    text: str
    """The text that replaces the name."""
    words: frozenset[str]
    """The words of that text, which may again be names of lists."""


def expand(name: str, items: Sequence[str]) -> ExpandedList:
    """Return the list with the text that replaces its name."""
    text = ", ".join(quote_item(item) for item in items)
    return ExpandedList(name, tuple(items), text, frozenset(_WORDS.findall(text)))


def quote_item(item: str) -> str:
    """Quote an item that contains a blank, unless it begins with a quote."""
    return f'"{item}"' if " " in item and item[0] not in "\"'" else item


class ListTable:
    """All lists in the order of their definitions, ready for substitution."""

    __slots__ = ("_lists", "_odd", "_position", "used")

    def __init__(self, lists: Sequence[ExpandedList]) -> None:
        self._lists = lists
        self._position: Mapping[str, int] = {item.name: index for index, item in enumerate(lists)}
        # A name that is not a single word is not found among the words of a text.
        self._odd = [index for index, item in enumerate(lists) if not _WORDS.fullmatch(item.name)]
        self.used: set[str] = set()

    def substitute(self, condition: TracedText) -> None:
        """Replace the names of lists by their items, list by list in the order of definition.

        Raises:
            ConditionTooLong: the text is longer than MAX_CONDITION, or grows beyond it.
        """
        if len(condition.text) > MAX_CONDITION:
            raise ConditionTooLong(f"the condition has more than {MAX_CONDITION:,} characters")
        words = set(_WORDS.findall(condition.text))
        todo = [*self._odd, *(self._position[word] for word in words if word in self._position)]
        heapify(todo)
        last = -1
        while todo:
            index = heappop(todo)
            if index == last:
                continue
            last = index
            item = self._lists[index]
            if not _replace(condition, item):
                continue
            self.used.add(item.name)
            for word in item.words:
                position = self._position.get(word, -1)
                if position > index:
                    heappush(todo, position)


def _replace(condition: TracedText, item: ExpandedList) -> bool:
    text, name = condition.text, item.name
    parts: list[str] = []
    length = 0
    edits: list[Edit] = []
    rest = 0
    search = 0
    while (start := text.find(name, search)) != -1:
        end = start + len(name)
        # A replaced name is followed by an inserted blank.
        before_fits = text[start - 1] in _DELIMITERS if start > rest else True
        if not before_fits or (end < len(text) and text[end] not in _DELIMITERS):
            search = start + 1
            continue
        unchanged = text[rest:start]
        parts.append(unchanged)
        length += len(unchanged)
        length -= _strip_end(parts)
        end = start + len(name)
        while end < len(text) and text[end] in _BLANKS:
            end += 1
        if not item.text:
            if parts and parts[-1].endswith(","):
                parts[-1] = parts[-1][:-1]
                length -= 1
            elif end < len(text) and text[end] == ",":
                end += 1
        new = f" {item.text} " if length else f"{item.text} "
        edits.append((length, length + len(new), start, end))
        parts.append(new)
        length += len(new)
        rest = search = end
        if length > MAX_CONDITION:
            raise ConditionTooLong(f"with its lists, the condition exceeds {MAX_CONDITION:,} characters")
    if not edits:
        return False
    parts.append(text[rest:])
    if length + len(text) - rest > MAX_CONDITION:
        raise ConditionTooLong(f"with its lists, the condition exceeds {MAX_CONDITION:,} characters")
    condition.edit("".join(parts), edits)
    return True


def _strip_end(parts: list[str]) -> int:
    """Remove trailing blanks from the parts and return their number."""
    taken = 0
    while parts:
        stripped = parts[-1].rstrip(_BLANKS)
        taken += len(parts[-1]) - len(stripped)
        if stripped:
            parts[-1] = stripped
            break
        parts.pop()
    return taken
