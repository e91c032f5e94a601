"""What loading gives: rules with their whole condition, macros and lists as they are in the end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from processor.correlation.plan.spec import Correlation, Suppress
from processor.language.ast import Node, Span
from processor.loading.definitions import Extension, PluginRequirement
from processor.loading.priority import Priority
from processor.loading.problems.model import Problem, SourceLocation
from processor.loading.yaml.tracing import TracedText


@dataclass(frozen=True, slots=True)
class LoadedList:
    """A list after all appends and redefinitions."""

    name: str
    items: tuple[str, ...]
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class LoadedMacro:
    """A macro after all appends and redefinitions."""

    name: str
    condition_text: str
    """As it is written, what was appended included."""
    condition: Node
    """With the macros it uses in place. Its spans count in parsed_text."""
    parsed_text: str
    """The condition with the items of lists in place."""
    extensions: Mapping[str, Extension] = field(compare=False)
    place: SourceLocation = field(compare=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule after all appends, overrides, redefinitions and exceptions, ready to be compiled."""

    index: int
    """Its place among all rules: that of its first definition."""
    name: str
    description: str
    condition: Node
    """Lists, macros and exceptions in place. Its spans count in parsed_text, those inside a Macro in the macro's."""
    condition_text: str
    """As it is written, what was appended included; without exceptions."""
    parsed_text: str
    """The text that the condition's tree was made from."""
    output: str
    priority: Priority
    source: str
    tags: tuple[str, ...]
    """In order of their names."""
    enabled: bool
    event_types: frozenset[str]
    capture: bool
    capture_duration: int
    """Milliseconds; 0 where the rule names none."""
    warn_evttypes: bool
    skip_if_unknown_filter: bool
    exception_names: tuple[str, ...]
    exceptions_in_force: tuple[str, ...]
    """Those of them that have values: the condition ends with one `not` for each, in this order."""
    extensions: Mapping[str, Extension] = field(compare=False)
    place: SourceLocation = field(compare=False)
    traced: TracedText = field(compare=False, repr=False)

    @property
    def file(self) -> str:
        """The name of the file with its definition."""
        return self.place.file

    @property
    def line(self) -> int:
        """The line of its definition, from 1."""
        return self.place.line

    @property
    def column(self) -> int:
        """The column of its definition, from 1."""
        return self.place.column

    def locate(self, span: Span) -> SourceLocation:
        """Find in the files what stands at a span of parsed_text."""
        return self.traced.place(span)


@dataclass(frozen=True, slots=True)
class FileResult:
    """What one file gave: an engine that loads file by file stops at the first that is not ok."""

    name: str
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether it has no error."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class Redefinition:
    """A list, macro or rule that a later file defines again; allowed, and worth a notice."""

    type: str
    name: str
    place: SourceLocation
    earlier: SourceLocation


@dataclass(frozen=True, slots=True)
class LoadResult:
    """All rules of some files, and all that is wrong with them."""

    files: tuple[FileResult, ...]
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    rules: tuple[Rule, ...]
    """In the order of their first definition; with errors, those that have none."""
    macros: Mapping[str, LoadedMacro]
    lists: Mapping[str, LoadedList]
    required_plugins: tuple[tuple[PluginRequirement, ...], ...] = ()
    """What the files ask for: of each group one. Plugins are not supported."""
    redefinitions: tuple[Redefinition, ...] = ()
    correlations: Mapping[str, Correlation] = field(default_factory=dict)
    """Of each stateful macro by its name; those with errors are left out."""
    suppressed: Mapping[str, Suppress] = field(default_factory=dict)
    """By the name of the rule, how its repeats are told, where it says so."""

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def with_errors(self, problems: Iterable[Problem]) -> "LoadResult":
        """Add errors to these, and to those of their files."""
        more = tuple(dict.fromkeys(problems))
        return replace(self, files=tuple(_with_errors(file, more) for file in self.files), errors=(*self.errors, *more))

    def with_warnings(self, problems: Iterable[Problem]) -> "LoadResult":
        """Add warnings to these, and to those of their files."""
        more = tuple(dict.fromkeys(problems))
        files = (
            replace(file, warnings=(*file.warnings, *(each for each in more if each.file == file.name)))
            for file in self.files
        )
        return replace(self, files=tuple(files), warnings=(*self.warnings, *more))


def _with_errors(file: FileResult, problems: tuple[Problem, ...]) -> FileResult:
    mine = tuple(problem for problem in problems if problem.file == file.name and problem not in file.errors)
    return replace(file, errors=tuple(sorted((*file.errors, *mine), key=lambda told: (told.line, told.column))))
