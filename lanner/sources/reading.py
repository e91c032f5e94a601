"""Reads mapping files: the text of one in, a source of JSON with its fields out, or every error with its place."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, MappingReader
from foundation.yaml.nodes import Limits, Node, SequenceNode, SourceFile, YamlError
from foundation.yaml.reading import read_documents
from lanner.errors import BadInput
from lanner.sources.recipe import MappedField, read_field, read_find
from processor.fields.json import recipes
from processor.fields.json.documents import JsonSource, Reader, items, no_value, time_in
from processor.fields.json.recipes import KINDS, Find
from processor.loading import report
from processor.loading.problems import Problem, ProblemCode
from schemas.catalog.fields import BUILT_IN_FIELDS, FIELDS, RESERVED, FieldSpec, own_field

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)+")
_LIMITS = Limits(characters=1_000_000, nodes=50_000, depth=32)
_MAX_FIELDS = 1000
_PLACES = ("events", "time", "key", "host", "user")
_TYPES = {type_name: name for name, type_name in KINDS.items()}


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """The content of a mapping file."""

    name: str
    file: str
    find: Mapping[str, Find]
    """Where events, time, key, host and user are, for those that the file names."""
    row: tuple[str, ...] | None
    fields: Mapping[str, MappedField]
    specs: tuple[FieldSpec, ...] = ()
    """The fields that only the file defines."""

    def over(self, base: "SourceMapping") -> "SourceMapping":
        """Return a mapping with the parts of this one, and of another those that this one lacks."""
        row = base.row if self.row is None else self.row
        return replace(self, find={**base.find, **self.find}, row=row, fields={**base.fields, **self.fields})

    def source(self) -> JsonSource:
        """Return the source as events need it."""
        find, fields = self.find, self.fields

        def read(name: str, argument: str | None) -> Reader:
            found = fields.get(name)
            return no_value if found is None else found.reader(None if argument is None else int(argument))

        def key(document: Any) -> tuple[str, ...]:
            value = text(document)
            return (value,) if isinstance(value, str) else ()

        def time(document: Any) -> int | None:
            return next((ns for value in moments(document) if (ns := time_in(value)) is not None), None)

        text, moments = recipes.typed(find.get("key", _nothing), "text"), find.get("time", _nothing)
        row = ("evt.rawtime", *(self.row or ()))
        return JsonSource(
            self.name,
            read,
            _splitter(find.get("events")),
            time,
            key,
            _text(find.get("host")),
            _text(find.get("user")),
            row,
        )


def _nothing(_document: Any) -> Sequence[Any]:
    return ()


def _text(find: Find | None) -> Reader:
    return no_value if find is None else recipes.typed(find, "text")


def _splitter(find: Find | None) -> Any:
    def split(document: Any) -> Iterable[Any]:
        return [event for each in items(document) for event in (find and find(each)) or (each,)]

    return split


def read_mapping(file: SourceFile) -> SourceMapping:
    """Read a mapping file. Raises BadInput with all errors."""
    reader = _Reader(file)
    found = reader.mapping()
    if reader.problems or found is None:
        raise BadInput(*(report.as_text([problem]).rstrip("\n") for problem in reader.problems))
    return found


class _Reader:
    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self.problems: list[Problem] = []

    def mapping(self) -> SourceMapping | None:
        try:
            documents = read_documents(self._file, _LIMITS)
        except YamlError as error:
            self._add(error.message, error.location, error.hint)
            return None
        try:
            return self._read(documents)
        except BadMapping as wrong:
            self._fail(wrong)
            return None

    def _read(self, documents: Sequence[Node]) -> SourceMapping:
        whole = "a mapping file"
        if len(documents) != 1:
            empty = SequenceNode(self._file, 0, 0, ())
            raise BadMapping(f"{whole} is one mapping", empty, "begin with 'source: NAME'")
        table = MappingReader(documents[0], whole)
        name = self._name(table.need("source", f"{whole} names its source", "add 'source: NAME'"))
        find = {key: read_find(node, key, {}) for key in _PLACES if (node := table.get(key)) is not None}
        if isinstance(times := table.get("time"), SequenceNode):
            find["time"] = recipes.all_of([read_find(each, "time", {}) for each in times.items])
        row = table.value(mappings.texts, None, "row")
        table.get("description")
        fields: dict[str, MappedField] = {}
        specs: list[FieldSpec] = []
        if (node := table.get("fields")) is not None:
            pairs = MappingReader(node, "fields").pairs()
            if len(pairs) > _MAX_FIELDS:
                raise BadMapping(f"more than {_MAX_FIELDS} fields", node)
            for field_name, each in pairs.items():
                self._field(name, field_name, each, fields, specs)
        for wrong in table.unknown():
            self._fail(wrong)
        self._check_row(row or (), table.get("row"), fields, name)
        return SourceMapping(name, self._file.name, find, row, fields, tuple(specs))

    def _name(self, node: Node) -> str:
        name = mappings.text(node, "source")
        if not _NAME.fullmatch(name):
            raise BadMapping(f"'{name}' is not a name of a source", node, "use a-z, 0-9 and _, as in my_application")
        if name in RESERVED:
            raise BadMapping(f"the name '{name}' has a meaning already", node, "use another name")
        return name

    def _field(
        self, source: str, name: str, node: Node, fields: dict[str, MappedField], specs: list[FieldSpec]
    ) -> None:
        try:
            known = FIELDS.get(name)
            if known is not None and known.family != source:
                raise BadMapping(f"the field '{name}' belongs to others", node, "use another name")  # noqa: TRY301
            is_own = known is None or name not in BUILT_IN_FIELDS
            if is_own and not _FIELD_NAME.fullmatch(name):
                hint = "names have at least two parts, as in app.user.name"
                raise BadMapping(f"'{name}' is not a name of a field", node, hint)  # noqa: TRY301
            kind = None if is_own or known is None else _TYPES[known.type]
            read = read_field(node, name, fields, kind, is_list=not is_own and known is not None and known.is_list)
            fields[name] = read
            if is_own:
                text = read.description or f"Defined by {self._file.name}"
                type_name = "CHARBUF" if read.is_list else KINDS[read.kind]
                specs.append(own_field(name, source, type_name, text, is_list=read.is_list))
        except BadMapping as wrong:
            self._fail(wrong)

    def _check_row(self, row: Iterable[str], node: Node | None, fields: Mapping[str, MappedField], source: str) -> None:
        for name in row:
            known = FIELDS.get(name)
            if name not in fields and (known is None or known.family != source) and node is not None:
                hint = did_you_mean(name, fields)
                self._fail(BadMapping(f"'row' names '{name}', which is not a field of the source", node, hint))

    def _fail(self, wrong: BadMapping) -> None:
        self._add(wrong.message, wrong.node.location, wrong.hint)

    def _add(self, message: str, location: Any, hint: str) -> None:
        self.problems.append(Problem(ProblemCode.LOAD_ERR_VALIDATE, message, "mapping file", "", location, hint))
