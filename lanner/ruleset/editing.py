"""Answers about a rule file that is being edited, by the same functions as the commands.

Where in an item a position is, is found by indentation: the file is seldom valid while it is typed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foundation.yaml.nodes import SourceLocation
from lanner.ruleset.active import on_top
from lanner.ruleset.load import validate_files
from lanner.ruleset.schema import rule_schema
from processor.fields.availability import remark_on, source_of
from processor.language.tokens import ANCESTOR, OPERATORS, TRANSFORMERS
from processor.loading import LoadResult, Problem, RuleFile, load_rules
from processor.loading.reader import KINDS
from schemas.catalog.fields import EVENTS, FIELDS, SOURCES, FieldSpec, event_spec, resolve_field
from schemas.catalog.priorities import Priority

Kind = Literal["field", "macro", "list", "operator", "event type", "key", "value"]

_WORD = re.compile(r"[A-Za-z_][\w.]*(?:\[[^\]\s]*\]?)?")
_TYPES = re.compile(r"\bevt\.type\s*(?:=|==|!=|in)\s*(?:\([^()]*)?\Z")
_ABOUT_ANCESTOR = "true if some ancestor of the process meets the whole condition in the parentheses"
_SHOWN_ITEMS = 20
_OF_KEYS: Mapping[str, tuple[Kind, ...]] = {
    "condition": ("field", "macro", "list", "operator"),
    **dict.fromkeys(("output", "fields", "field", "by", "group-by", "aliases"), ("field",)),
    **dict.fromkeys(("macros", "until"), ("macro",)),
    **dict.fromkeys(("items", "values"), ("list",)),
    "comps": ("operator",),
}
"""The kinds of names that can be written below each key."""
_MEANT = re.compile(
    r"did you mean '([^']+)'\?|^write '([^']+)' instead of '([^']+)'|^write ([\w.\[\]]+(?: or [\w.\[\]]+)*)$"
)
_QUOTED = re.compile(r"'([^']+)'")
_KEY = re.compile(r"(?P<indent>\s*(?:-\s+)?)(?P<key>[A-Za-z][\w-]*)\s*:(?:\s+(?P<rest>.*))?\Z")
_FLOW = re.compile(r"(?:.*[{,]|\A)\s*(?P<key>[A-Za-z][\w-]*)\s*:\s*[^{},]*\Z", re.DOTALL)
_NEW = re.compile(r"(?P<indent>\s*(?:-\s+)?)[\w-]*\Z")
_ONE_OF: Mapping[tuple[str, ...], Sequence[str]] = {
    ("priority",): [str(priority) for priority in Priority],
    ("source",): sorted(SOURCES),
}


@dataclass(frozen=True, slots=True)
class Completion:
    """A name that can be written at a position."""

    name: str
    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A text that was probably meant instead of another."""

    text: str
    line: int
    """From 1, as the columns."""
    start: int
    end: int


def fixes(problem: Problem) -> Iterator[Fix]:
    """Yield what can replace the cause of a problem, if its hint is a name."""
    location, found = problem.location, _MEANT.search(problem.hint)
    if found is None or not location.line or location.last_line:
        return
    begin = location.column - 1 - location.text_start
    marked = location.text[begin : begin + location.width]
    # The location may be that of a whole comparison: the message names the part.
    quoted = [found[3], *_QUOTED.findall(problem.message), *problem.message.split()[-1:]]
    wrong = (
        marked if len(marked.split()) == 1 else next((each for each in quoted if each and marked.count(each) == 1), "")
    )
    if wrong:
        start = location.column + marked.index(wrong)
        for text in (found[1] or found[2] or found[4]).split(" or "):
            yield Fix(text, location.line, start, start + len(wrong))


class Analysis:
    """A rule file on top of others."""

    def __init__(self, below: Sequence[RuleFile], file: RuleFile) -> None:
        """Load the file, named by its path. below: files whose items it can use."""
        self._below = tuple(below)
        self._file = file
        text = file.text if isinstance(file.text, str) else file.text.decode("utf-8", "replace")
        self._lines = text.split("\n")
        self._loaded: LoadResult | None = None

    def problems(self) -> list[Problem]:
        """Return all problems of the file."""
        result = validate_files(self._below, [self._file])
        found = (*result.errors, *result.warnings, *result.infos)
        return [problem for problem in found if problem.file == self._file.name]

    def _word(self, line: int, column: int) -> str:
        """Return the word at a position, counted from 0; empty if there is none."""
        text = self._lines[line] if 0 <= line < len(self._lines) else ""
        found = (each for each in _WORD.finditer(text) if each.start() <= column <= each.end())
        return next((each.group().rstrip(".") for each in found), "")

    def hover(self, line: int, column: int) -> str | None:
        """Return the documentation of the field, macro, list or event type at a position, as Markdown."""
        word = self._word(line, column)
        if not word:
            return None
        found = resolve_field(word) or resolve_field(f"{word}[0]")
        if found is not None:
            return field_documentation(found[0])
        loaded = self._items()
        if (macro := loaded.macros.get(word)) is not None:
            return f"macro **{macro.name}**\n\n```\n{macro.condition_text.strip()}\n```\n\n{macro.location}"
        if (found_list := loaded.lists.get(word)) is not None:
            more = ", ..." if len(found_list.items) > _SHOWN_ITEMS else ""
            return f"list **{word}**: {', '.join(found_list.items[:_SHOWN_ITEMS])}{more}\n\n{found_list.location}"
        if (event := event_spec(word)) is not None:
            arguments = ", ".join(param.name for param in event.params)
            return f"event type **{event.name}** ({event.category})\n\narguments: {arguments or 'none'}"
        return _ABOUT_ANCESTOR if word == ANCESTOR else None

    def completions(self, line: int, column: int) -> list[Completion]:
        """Return what can be written at a position: keys, the values of a key, event types, fields and other names."""
        before = (self._lines[line] if 0 <= line < len(self._lines) else "")[:column]
        place = place_at(self._lines, min(line, len(self._lines)), before)
        if found := choices(place):
            dash = "- " if not place.kind and "-" not in before else ""
            return [Completion(dash + name, "key" if place.is_key else "value", text) for name, text in found]
        typed = re.search(r"[\w.]*\Z", before)
        start = before[: typed.start()] if typed else before
        if _TYPES.search(start):
            return [Completion(name, "event type", spec.category) for name, spec in EVENTS.items()]
        key = next((key for key in reversed(place.path) if key in _OF_KEYS), "")
        if place.path[:2] == ("correlation", "condition") or (key == "output" and not start.endswith(("%", "("))):
            return []
        return [each for each in self._names() if each.kind in _OF_KEYS.get(key, ())]

    def definition(self, line: int, column: int) -> SourceLocation | None:
        """Return where the macro or list at a position is defined."""
        word, loaded = self._word(line, column), self._items()
        found = loaded.macros.get(word) or loaded.lists.get(word)
        return None if found is None else found.location

    def _names(self) -> Iterator[Completion]:
        loaded = self._items()
        for name, spec in FIELDS.items():
            yield Completion(name, "field", spec.type)
        for macro in loaded.macros.values():
            yield Completion(macro.name, "macro", " ".join(macro.condition_text.split()))
        for each in loaded.lists.values():
            yield Completion(each.name, "list", ", ".join(each.items[:_SHOWN_ITEMS]))
        for operator in (*OPERATORS, "and", "or", "not"):
            yield Completion(operator, "operator", "operator")
        yield Completion(f"{ANCESTOR}(", "operator", _ABOUT_ANCESTOR)
        for transformer in TRANSFORMERS:
            yield Completion(f"{transformer}(", "operator", "transformer")

    def _items(self) -> LoadResult:
        if self._loaded is None:
            loaded = load_rules(on_top(self._below, [self._file]))
            if not loaded.macros and not loaded.lists and self._below:
                loaded = load_rules(self._below)
            self._loaded = loaded
        return self._loaded


def field_documentation(spec: FieldSpec) -> str:
    """Return the documentation of a field, as Markdown."""
    argument = {"none": "", "optional": "[...] (optional)", "required": "[...]"}[spec.argument]
    parts = [f"**{spec.name}**{argument} `{spec.type}`{' list' if spec.is_list else ''}", spec.description]
    remark = remark_on(spec)
    if source_of(spec) == "none":
        parts.append(f"Never has a value: {remark}")
    elif remark:
        parts.append(f"Note: {remark}")
    return "\n\n".join(parts)


@dataclass(frozen=True, slots=True)
class Place:
    """A position in an item."""

    kind: str
    """rule, macro or list; empty outside of items, and in one that doesn't have its key yet."""
    path: tuple[str, ...]
    """The keys that lead to it; for a key that is being written, those of the mapping that has it."""
    is_key: bool
    """True if a key can be written there."""
    present: frozenset[str] = frozenset()
    """The keys that the item has already."""


def place_at(lines: Sequence[str], line: int, before: str) -> Place:
    """Return the place of a position. before: the text of its line before it."""
    is_key, path, column = False, list[str](), 0
    if (found := _KEY.match(before)) is not None:
        path, column = [found["key"]], len(found["indent"])
        path += _in_flow(found["rest"] or "")
        is_key = _is_new_in_flow(found["rest"] or "")
    elif (new := _NEW.match(before)) is not None:
        is_key, column = True, len(new["indent"])
    else:
        column = len(before) - len(before.lstrip(" -"))
    start = next((n for n in range(line - 1, -1, -1) if lines[n].startswith("-")), 0) if before[:1] != "-" else line
    for number in range(line - 1, start - 1, -1):
        if (found := _KEY.match(lines[number])) is None or len(found["indent"]) >= column:
            continue
        path.insert(0, found["key"])
        column = len(found["indent"])
        # Below a key with a text, everything belongs to the text.
        is_key = is_key and not (found["rest"] or "").strip()
    keys = frozenset(_keys_of_item(lines[start:], column))
    kind = next((kind for kind in KINDS if kind in keys), "") if column else ""
    if path and path[0] in KINDS and len(path) > 1:
        path = path[1:]
    return Place(kind, tuple(path), is_key, keys)


def _in_flow(rest: str) -> Iterator[str]:
    """Yield the keys of flow mappings that a text has opened and not closed."""
    opened: list[str] = []
    for index, letter in enumerate(rest):
        if letter == "{":
            opened.append(rest[index + 1 :])
        elif letter == "}" and opened:
            opened.pop()
    for text in opened:
        found = _FLOW.match(text.rpartition("{")[2] if text is not opened[-1] else text)
        if found is not None:
            yield found["key"]


def _is_new_in_flow(rest: str) -> bool:
    return rest.count("{") > rest.count("}") and re.search(r"[{,]\s*[\w-]*\Z", rest) is not None


def _keys_of_item(lines: Sequence[str], column: int) -> Iterator[str]:
    """Yield the keys of the item that begins in the first line. column: that of its keys."""
    for number, text in enumerate(lines):
        if number and text.startswith("-"):
            return
        found = _KEY.match(text)
        if found is not None and len(found["indent"]) <= max(column, 2):
            yield found["key"]


def choices(place: Place) -> list[tuple[str, str]]:
    """Return the keys or values that can be written at a place, each with its documentation; empty for free text."""
    if not place.kind:
        return [(f"{kind}:", f"a {kind}") for kind in KINDS] if place.is_key and not place.path else []
    node: Any = next(each for each in rule_schema()["items"]["anyOf"] if place.kind in each["required"])
    for key in place.path:
        node = _inner(node).get("properties", {}).get(key, {})
    if place.is_key:
        properties = _inner(node).get("properties", {})
        taken = place.present if not place.path else ()
        return [(f"{key}:", each.get("description", "")) for key, each in properties.items() if key not in taken]
    values = _ONE_OF.get(place.path) or node.get("enum") or (["true", "false"] if node.get("type") == "boolean" else [])
    return [(str(value), node.get("description", "")) for value in values]


def _inner(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a list's items; a mapping stays itself."""
    items: Mapping[str, Any] = node.get("items", node)
    return items
