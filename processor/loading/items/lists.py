"""Lists, which take the place of their names in the text of a condition before it is parsed.

That it happens to text is what rules rest on: a name is found between blanks, parentheses, commas and
equal signs, inside quotes too; an empty list takes a comma with it; an item with a blank gets quotes.

Source: falco rule_loader_compiler.cpp (resolve_list, compile_list_infos).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from processor.loading.yaml.tracing import Edit, TracedText
from schemas.errors import LannerError

MAX_CONDITION = 1_000_000
"""Characters; lists that hold each other could multiply without end."""

_BLANKS = " \t\n\r"
_DELIMITERS = frozenset(_BLANKS + "(),=")
_WORDS = re.compile(r"[^ \t\n\r(),=]+")


class ConditionTooLong(LannerError, ValueError):
    """Lists made a condition longer than anyone writes."""


@dataclass(frozen=True, slots=True)
class ExpandedList:
    """A list's items with the items of lists it names put in."""

    name: str
    items: tuple[str, ...]
    text: str
    """What takes the place of the name."""
    words: frozenset[str]
    """Words of that text, for it may name lists again."""


def expand(name: str, items: Sequence[str]) -> ExpandedList:
    """Make what takes the place of a list's name."""
    text = ", ".join(quote_item(item) for item in items)
    return ExpandedList(name, tuple(items), text, frozenset(_WORDS.findall(text)))


def quote_item(item: str) -> str:
    """Put quotes round an item that holds a blank, unless it begins with one."""
    return f'"{item}"' if " " in item and item[0] not in "\"'" else item


class ListTable:
    """All lists in the order of their definition, ready to be put into conditions."""

    __slots__ = ("_lists", "_odd", "_position", "used")

    def __init__(self, lists: Sequence[ExpandedList]) -> None:
        self._lists = lists
        self._position: Mapping[str, int] = {item.name: index for index, item in enumerate(lists)}
        # A name that is no single word isn't found among the words of a text.
        self._odd = [index for index, item in enumerate(lists) if not _WORDS.fullmatch(item.name)]
        self.used: set[str] = set()

    def substitute(self, condition: TracedText) -> None:
        """Put the items of every list in the place of its name, list by list in the order of definition.

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
        # Just behind a replaced name stands the blank that was put there.
        before_fits = text[start - 1] in _DELIMITERS if start > rest else True
        if not before_fits or (end < len(text) and text[end] not in _DELIMITERS):
            search = start + 1
            continue
        kept = text[rest:start]
        parts.append(kept)
        length += len(kept)
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
            raise ConditionTooLong(f"the condition grows beyond {MAX_CONDITION:,} characters by its lists")
    if not edits:
        return False
    parts.append(text[rest:])
    if length + len(text) - rest > MAX_CONDITION:
        raise ConditionTooLong(f"the condition grows beyond {MAX_CONDITION:,} characters by its lists")
    condition.edit("".join(parts), edits)
    return True


def _strip_end(parts: list[str]) -> int:
    """Take the blanks from the end of what is written so far; give their number."""
    taken = 0
    while parts:
        stripped = parts[-1].rstrip(_BLANKS)
        taken += len(parts[-1]) - len(stripped)
        if stripped:
            parts[-1] = stripped
            break
        parts.pop()
    return taken
