"""Items that name a file of indicators: a list of up to a million digests, names, addresses or texts."""

from pathlib import Path, PurePosixPath
from typing import TypeVar, get_args

from foundation.quantities import UNITS, parse_duration
from foundation.text import did_you_mean
from foundation.yaml.nodes import MappingNode, Node, ScalarNode, SourceLocation
from processor.indicators.formats import BY_SUFFIX, COLUMNS, Format
from processor.indicators.lists import IndicatorList, IndicatorSpec, OutsideFolders, PackedFile, PublishedFiles
from processor.indicators.tables import Kind
from processor.language.tokens import IDENTIFIER
from processor.loading.definitions import ItemLocation, optional_scalar, reject, scalar
from processor.loading.problems import ItemRejected, Problem, ProblemCode
from processor.loading.rules import LoadedIndicators
from schemas.published_rules import is_indicator_file

KEYS = ("indicators", "file", "kind", "format", "columns", "source", "expires_after")
KINDS: tuple[Kind, ...] = get_args(Kind)
FORMATS: tuple[Format, ...] = get_args(Format)
_Choice = TypeVar("_Choice", Kind, Format)


def read_indicators(item: MappingNode, published: PublishedFiles | None) -> LoadedIndicators:
    """Return the list of an item, whose file is not read yet. Raises ItemRejected.

    published: where the files of published rules are; None to take those on the disk.
    """
    node = scalar(item, "indicators", ItemLocation(item, "indicators"))
    spot = ItemLocation(item, "indicators", node.value)
    if not IDENTIFIER.fullmatch(node.value):
        raise _wrong("the name has letters, digits and underscores, and begins with a letter", spot, node)
    file = scalar(item, "file", spot)
    kind = _one_of(scalar(item, "kind", spot), KINDS, spot)
    stated = optional_scalar(item, "format", spot)
    form = BY_SUFFIX.get(PurePosixPath(file.value).suffix) if stated is None else _one_of(stated, FORMATS, spot)
    if form is None:
        raise _wrong("its format is not known by its name", spot, file, f"add 'format': {', '.join(FORMATS)}")
    if form in ("stix", "misp") and kind == "text":
        raise _wrong(f"a file of format {form} has no entries of kind text", spot, file, "use address, name or digest")
    source = optional_scalar(item, "source", spot)
    after = optional_scalar(item, "expires_after", spot)
    seconds = 0 if after is None else (parse_duration(after.value, ("m", "h", "d")) or 0) // UNITS["s"]
    if after is not None and not seconds:
        raise _wrong(f"'{after.value}' is not a duration", spot, after, "write it as 30m, 12h or 7d")
    columns = _columns(item, form, spot)
    spec = IndicatorSpec(node.value, file.value, kind, form, columns, source.value if source else "", seconds)
    folders = None if published is None else published.folders
    place = _place(item, spec, spot, file, published)
    return LoadedIndicators(IndicatorList(spec, place, folders=folders), file.location)


def _place(
    item: MappingNode, spec: IndicatorSpec, spot: ItemLocation, file: ScalarNode, published: PublishedFiles | None
) -> Path | PackedFile:
    """Return where the file of a list is. Raises ItemRejected."""
    path = Path(item.file.name).parent / spec.file
    if Path(spec.file).is_absolute():
        return path
    if not is_indicator_file(spec.file):
        message = f"'{file.value}' can't be published: a name has letters, digits and . _ - in up to 5 folders"
        raise _wrong(message, spot, file, "rename it, or write an absolute path")
    if published is None:
        return path
    found = published.files.get(spec.file)
    if found is None:
        message = "Could not read the file: it was not published with the rules"
        raise reject(message, spot, file, code=ProblemCode.LOAD_ERR_FILE_READ, hint="publish them again")
    return found


def _columns(item: MappingNode, form: Format, spot: ItemLocation) -> tuple[tuple[str, str], ...]:
    node = item.get("columns")
    if node is None:
        return ()
    if form != "csv" or not isinstance(node, MappingNode):
        message = f"'columns' names the columns of a CSV file: {', '.join(COLUMNS)}"
        raise _wrong(message, spot, node)
    for key in node.names():
        if key.value not in COLUMNS:
            hint = did_you_mean(key.value, COLUMNS) or f"the keys are {', '.join(COLUMNS)}"
            raise _wrong(f"columns: unknown key '{key.value}'", spot, key, hint)
    return tuple((key.value, scalar(node, key.value, spot).value) for key in node.names())


def _one_of(node: ScalarNode, choices: tuple[_Choice, ...], spot: ItemLocation) -> _Choice:
    found = next((each for each in choices if each == node.value), None)
    if found is None:
        hint = did_you_mean(node.value, choices) or f"write one of {', '.join(choices)}"
        raise _wrong(f"'{node.value}' is none of {', '.join(choices)}", spot, node, hint)
    return found


def _wrong(message: str, spot: ItemLocation, node: Node, hint: str = "") -> ItemRejected:
    return reject(message, spot, node, code=ProblemCode.LOAD_ERR_EXTENSION, hint=hint)


def problems_of(loaded: LoadedIndicators) -> list[Problem]:
    """Read a list's file, and return what is wrong with it."""
    indicators, location = loaded.indicators, loaded.location
    spec = indicators.spec

    def problem(code: ProblemCode, message: str, location: SourceLocation, hint: str = "") -> Problem:
        return Problem(code, message, "indicators", spec.name, location, hint)

    try:
        contents = indicators.load()
    except OSError as error:
        message = f"Could not read the file: {error.strerror or error}"
        hint = "check that it exists and is readable"
        if isinstance(error, OutsideFolders):
            hint = "move it, or add its folder to published_rules.indicator_folders on each processor"
        return [problem(ProblemCode.LOAD_ERR_FILE_READ, message, location, hint)]
    warning = ProblemCode.LOAD_WARNING_EXTENSION
    found = [
        problem(warning, each.reason, SourceLocation(indicators.place, each.line, each.column))
        for each in contents.rejected
    ]
    if more := contents.rejected_count - len(contents.rejected):
        found.append(problem(warning, f"{more:,} more entries of {spec.file} are left out", location))
    if not len(contents.table):
        found.append(problem(warning, f"{spec.file} has no entries of kind {spec.kind}", location))
    return found
