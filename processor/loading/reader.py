"""The reader: adds the items of one file to the collection.

An invalid item is skipped with its error and reading continues, so that all errors are reported at once.

Source: falco rule_loader_reader.cpp.
"""

import re
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, SequenceNode, SourceFile, YamlError, is_null
from foundation.yaml.reading import read_documents
from processor.language.tokens import BARE_STRING, IDENTIFIER
from processor.loading.definitions import (
    EXTENSION_KEYS,
    ItemLocation,
    ListDefinition,
    MacroDefinition,
    PluginRequirement,
    any_leg,
    extensions_of,
    invalid,
    optional_truth,
    problem,
    reject,
    scalar,
    scalar_piece,
    texts,
    whole_number,
)
from processor.loading.items import actions, indicators, rules
from processor.loading.items.collection import Collection, ItemSkipped
from processor.loading.items.python_file import OWN_KEYS, is_python, read_python
from processor.loading.items.rules import (
    BOTH_KINDS,
    ONLY_REPLACE,
    Overrides,
    read_overrides,
    refuse_append,
    warn_of_append,
)
from processor.loading.problems import ItemRejected, Problem, ProblemCode

MAX_ERRORS = 100
MAX_PROBLEMS = 1000
"""Errors and warnings per file, after which reading stops."""

_VERSION = re.compile(r"\s*\+?([0-9]{1,9})\.\+?([0-9]{1,9})\.\+?([0-9]{1,9})")
_LIST_NAME = "([^()\"'[:space:]=,]+)"
_MACRO_NAME = "([a-zA-Z]+[a-zA-Z0-9_]*)"
_CONTENT = "rules content"


def read_file(file: SourceFile, collection: Collection, report: Callable[[Problem], None]) -> bool:
    """Add the items of one file to the collection, and report problems; return whether there was no error."""
    if is_python(file.name):
        python = read_python(file, report)
        collection.enrichments += python.enrichments
        return _Reader(collection, report).read([SequenceNode(file, 0, 0, python.items)])
    try:
        documents = read_documents(file)
    except YamlError as error:
        report(
            Problem(
                *(ProblemCode.LOAD_ERR_YAML_PARSE, error.message, _CONTENT, "", error.location),
                error.hint or "no item of this file is loaded",
            )
        )
        return False
    return _Reader(collection, report).read(documents)


class _Reader:
    def __init__(self, collection: Collection, report: Callable[[Problem], None]) -> None:
        self._collection = collection
        self._report_problem = report
        self._errors = 0
        self._problems = 0

    def read(self, documents: list[Node]) -> bool:
        for document in documents:
            if is_null(document):
                continue
            if not isinstance(document, SequenceNode):
                self._wrong_document(document)
                continue
            for item in document.items:
                if is_null(item):
                    continue
                self._read_whole(item)
                if self._is_full():
                    self._stop(item)
                    return False
        return not self._errors

    def _report(self, found: Problem) -> None:
        self._problems += 1
        self._report_problem(found)
        if self._problems >= MAX_PROBLEMS:
            raise ItemSkipped

    def _is_full(self) -> bool:
        return self._errors >= MAX_ERRORS or self._problems >= MAX_PROBLEMS

    def _stop(self, item: Node) -> None:
        location = item.file.locate(item.start, item.start + 1)
        message = f"{self._problems:,} problems: the rest of the file is not read"
        hint = "correct these, then load it again"
        self._report_problem(Problem(ProblemCode.LOAD_ERR_YAML_VALIDATE, message, _CONTENT, "", location, hint))

    def _wrong_document(self, document: Node) -> None:
        is_mapping = isinstance(document, MappingNode)
        message = "Rules content is not yaml array of objects" if is_mapping else "Rules content is not yaml"
        spot = ItemLocation(document, _CONTENT)
        self._fail(invalid(message, spot, hint="a rule file is a list of items such as '- rule: NAME'"))

    def _fail(self, rejected: ItemRejected) -> None:
        self._errors += 1
        self._problems += 1
        self._report_problem(rejected.problem)

    def _read_whole(self, item: Node) -> None:
        kind = _kind(item)
        try:
            self._read_item(item)
            self._warn_of_unknown_keys(kind, item)
        except ItemRejected as rejected:
            self._fail(rejected)
        except ItemSkipped:
            return
        else:
            return
        if kind in ("macro", "rule") and isinstance(item, MappingNode) and not {"override", "append"} & _names(item):
            spot = ItemLocation(item, kind, str(getattr(item.get(kind), "value", "")))
            self._collection.rejected.append(spot)
        name = item.get(kind) if isinstance(item, MappingNode) and kind else None
        if kind in self._collection.broken and name is not None:
            value = str(getattr(name, "value", ""))
            if value not in KINDS[kind].defined(self._collection):
                self._collection.broken[kind].add(value)

    def _read_item(self, item: Node) -> None:
        if not isinstance(item, MappingNode):
            spot = ItemLocation(item, "rules content item")
            message = "Unexpected element type. Each element should be a yaml associative array."
            raise invalid(message, spot, item, "start the item with '- rule:', '- macro:' or '- list:'")
        kind = KINDS.get(_kind(item))
        if kind is not None:
            kind.read(self, item)
        else:
            spot = ItemLocation(item, "rules content item")
            first = next((key.value for key in item.names()), "")
            hint = did_you_mean(first, KINDS) or f"an item has one of {', '.join(KINDS)}"
            self._report(problem(ProblemCode.LOAD_UNKNOWN_ITEM, "Unknown top level item", spot, hint=hint))

    def read_engine_version(self, item: MappingNode) -> None:
        spot = ItemLocation(item, "required_engine_version")
        node = scalar(item, "required_engine_version", spot)
        number = whole_number(node.value)
        if number is not None:
            version = (0, number, 0)
        else:
            match = _VERSION.match(node.value)
            if match is None:
                message = (
                    f"Unable to parse engine version '{node.value}' as a semver string. "
                    'Expected "x.y.z" semver format.'
                )
                raise invalid(message, spot, node, "write it as 0.26.0")
            version = (int(match[1]), int(match[2]), int(match[3]))
        self._collection.require_engine(version, spot)

    def read_plugin_versions(self, item: MappingNode) -> None:
        kind = "required plugin versions"
        node = item.get("required_plugin_versions")
        spot = ItemLocation(item, kind)
        if not isinstance(node, SequenceNode):
            raise invalid("Value of required_plugin_versions must be a sequence", spot, node)
        for plugin in node.items:
            entry = ItemLocation(plugin, f"{kind} entry")
            if not isinstance(plugin, MappingNode):
                raise invalid("Plugin version must be a mapping", entry, plugin, "each has name and version")
            entry = ItemLocation(plugin, f"{kind} entry", scalar(plugin, "name", entry).value)
            required = [PluginRequirement(entry.name, scalar(plugin, "version", entry).value)]
            alternatives = plugin.get("alternatives")
            if alternatives is not None:
                if not isinstance(alternatives, SequenceNode):
                    raise invalid("Value of plugin version alternatives must be a sequence", entry, alternatives)
                for other in alternatives.items:
                    one = ItemLocation(other, f"{kind} alternative")
                    if not isinstance(other, MappingNode):
                        raise invalid("Plugin version alternative must be a mapping", one, other)
                    name = scalar(other, "name", one).value
                    required.append(PluginRequirement(name, scalar(other, "version", one).value))
            self._require_plugins(required, entry)

    def _require_plugins(self, required: list[PluginRequirement], spot: ItemLocation) -> None:
        names: set[str] = set()
        for plugin in required:
            if not _VERSION.match(plugin.version):
                message = f"Invalid required version '{plugin.version}' for plugin '{plugin.name}'"
                raise reject(message, spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint="write it as 0.1.0")
            if plugin.name in names:
                message = f"Defined multiple alternative version requirements for plugin '{plugin.name}'"
                raise reject(message, spot, code=ProblemCode.LOAD_ERR_VALIDATE, hint="remove all but one")
            names.add(plugin.name)
        self._collection.plugins.append(tuple(required))

    def read_list(self, item: MappingNode) -> None:
        node = scalar(item, "list", ItemLocation(item, "list"))
        spot = ItemLocation(item, "list", node.value)
        if not BARE_STRING.fullmatch(node.value):
            message = "List has an invalid name. List names should match a regular expression: " + _LIST_NAME
            self._report(problem(ProblemCode.LOAD_INVALID_LIST_NAME, message, spot, node))
        new = ListDefinition(node.value, spot, texts(item, "items", spot))
        if self._appends(item, spot, "items"):
            self._collection.append_list(new)
        else:
            self._collection.define_list(new)

    def read_indicators(self, item: MappingNode) -> None:
        self._collection.define_indicators(indicators.read_indicators(item, self._collection.published))

    def read_action(self, item: MappingNode) -> None:
        self._collection.define_action(actions.read_action(item))

    def read_macro(self, item: MappingNode) -> None:
        node = scalar(item, "macro", ItemLocation(item, "macro"))
        name, spot = node.value, ItemLocation(item, "macro", node.value)
        if not IDENTIFIER.fullmatch(name):
            message = "Macro has an invalid name. Macro names should match a regular expression: " + _MACRO_NAME
            self._report(problem(ProblemCode.LOAD_INVALID_MACRO_NAME, message, spot, node))
        append = self._is_append(item, spot)
        overrides = read_overrides(item, spot, {"condition": BOTH_KINDS, "correlation": ONLY_REPLACE})
        overrides.exclude_append(item, spot, append=append)
        if append:
            refuse_append(item, spot, "correlation")
        if overrides:
            _check_correlation(item, spot, overrides)
        hint = did_you_mean("condition", [key.value for key in item.names()])
        condition = any_leg(item)
        is_about_correlation = overrides.replace == {"correlation"} and not overrides.append
        if not condition and not (is_about_correlation and item.get("condition") is None):
            condition = [scalar_piece(scalar(item, "condition", spot, hint=hint))]
        if is_about_correlation and item.get("condition") is not None:
            message = "Unexpected key 'condition': no corresponding entry under 'override' is defined."
            raise invalid(message, spot, item.key("condition"), "write 'condition: replace' under 'override' too")
        new = MacroDefinition(name, spot, condition, extensions_of("macro", item))
        if overrides.append and overrides.replace:
            self._collection.append_macro(new)
            self._collection.replace_in_macro(MacroDefinition(name, spot, [], new.extensions))
        elif append or overrides.append:
            self._collection.append_macro(new)
        elif overrides.replace:
            self._collection.replace_in_macro(new)
        else:
            self._collection.define_macro(new)

    def read_rule(self, item: MappingNode) -> None:
        rules.RuleItem(item, self._collection, self._report).read()

    def _is_append(self, item: MappingNode, spot: ItemLocation) -> bool:
        append = optional_truth(item, "append", spot, default=False)
        if append:
            warn_of_append(item, spot, self._report)
        return append

    def _appends(self, item: MappingNode, spot: ItemLocation, key: str) -> bool:
        append = self._is_append(item, spot)
        overrides = read_overrides(item, spot, {key: BOTH_KINDS})
        overrides.exclude_append(item, spot, append=append)
        return append or key in overrides.append

    def _warn_of_unknown_keys(self, kind: str, item: Node) -> None:
        if kind not in KINDS or not isinstance(item, MappingNode):
            return
        known = (*KINDS[kind].keys, *EXTENSION_KEYS.get(kind, ()), *(OWN_KEYS if is_python(item.file.name) else ()))
        name = getattr(item.get(kind), "value", "") if kind in self._collection.broken else ""
        for key in item.names():
            if key.value not in known:
                message = f"Unknown key '{key.value}'. The key will be ignored."
                hint = did_you_mean(key.value, known)
                self._report(problem(ProblemCode.LOAD_UNKNOWN_KEY, message, ItemLocation(item, kind, name), key, hint))


def _check_correlation(item: MappingNode, spot: ItemLocation, overrides: Overrides) -> None:
    """Reject a correlation that `override` does not list, or one that it lists but the item lacks."""
    is_there, is_named = item.get("correlation") is not None, "correlation" in overrides.replace
    if is_there and not is_named:
        message = "Unexpected key 'correlation': no corresponding entry under 'override' is defined."
        raise invalid(
            message, spot, item.key("correlation"), "write 'correlation: replace' under 'override', or remove it"
        )
    if is_named and not is_there:
        message = "An replace override for 'correlation' was specified but 'correlation' is not defined"
        raise invalid(message, spot, item.key("override"), "add 'correlation: ...', or remove it from override")


def _names(item: MappingNode) -> set[str]:
    return {key.value for key in item.names()}


def _kind(item: Node) -> str:
    if not isinstance(item, MappingNode):
        return ""
    return next((kind for kind in KINDS if item.get(kind) is not None), "")


class Kind(NamedTuple):
    """One kind of items."""

    keys: tuple[str, ...]
    """The keys that Falco knows; EXTENSION_KEYS has Lanner's."""
    read: Callable[[_Reader, MappingNode], None]
    defined: Callable[[Collection], Container[str]] = lambda _: ()
    """The names of the collected items."""


KINDS: Mapping[str, Kind] = {
    "required_engine_version": Kind(("required_engine_version",), _Reader.read_engine_version),
    "required_plugin_versions": Kind(("required_plugin_versions",), _Reader.read_plugin_versions),
    "list": Kind(("list", "items", "append", "override"), _Reader.read_list, lambda found: found.lists),
    "indicators": Kind(indicators.KEYS, _Reader.read_indicators, lambda found: found.indicators),
    "action": Kind(actions.KEYS, _Reader.read_action, lambda found: found.actions),
    "macro": Kind(("macro", "condition", "append", "override"), _Reader.read_macro, lambda found: found.macros),
    "rule": Kind(rules.KEYS, _Reader.read_rule, lambda found: found.rules),
}
"""The kinds of items by their key; an item with several such keys is of the first kind."""
