"""The model of problems in rule files."""

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

from foundation.errors import LannerError
from foundation.yaml.nodes import SourceLocation

_LONGEST_TEXT = 1000

Severity = Literal["error", "warning", "info"]


class Code(Protocol):
    """A kind of problem: one of Falco's, or one that only Lanner reports."""

    @property
    def name(self) -> str:
        """The code as people read it."""

    @property
    def severity(self) -> Severity:
        """How serious it is."""


class ProblemCode(Enum):
    """A kind of problem, named as in Falco so that people and tools recognize it.

    The value is a short description and the impact.
    """

    LOAD_ERR_FILE_READ = ("File read error", "The file is missing or unreadable; none of its rules is loaded.")
    LOAD_ERR_YAML_PARSE = ("YAML parse error", "The text is not YAML; none of the file's rules is loaded.")
    LOAD_ERR_YAML_VALIDATE = (
        "Error validating internal structure of YAML file",
        "An item lacks a key, or a key has a value of the wrong type.",
    )
    LOAD_ERR_COMPILE_CONDITION = (
        "Error compiling condition",
        "The condition is invalid, or compares values of incompatible types.",
    )
    LOAD_ERR_COMPILE_OUTPUT = ("Error compiling output", "The output uses a field that cannot be printed.")
    LOAD_ERR_VALIDATE = (
        "Error validating rule/macro/list/exception objects",
        "Items are inconsistent: an unknown macro, an append to a missing item, lists of different lengths.",
    )
    LOAD_ERR_EXTENSION = ("Error in extension item", "An item or key that only Lanner supports is invalid.")
    LOAD_UNKNOWN_SOURCE = ("Unknown event source", "The rule's source does not exist, so the rule is skipped.")
    LOAD_UNSAFE_NA_CHECK = (
        "Unsafe <NA> comparison in condition",
        "A missing value is not the text <NA>, so the comparison is never true; use exists.",
    )
    LOAD_NO_EVTTYPE = (
        "Condition has no event-type restriction",
        "The rule is evaluated for nearly every event, which is slow; restrict evt.type.",
    )
    LOAD_UNKNOWN_FILTER = (
        "Unknown field or event-type in condition or output",
        "The rule sets skip-if-unknown-filter, so it is skipped.",
    )
    LOAD_UNUSED_MACRO = ("Unused macro", "No rule or macro uses it.")
    LOAD_UNUSED_LIST = ("Unused list", "No rule, macro or list uses it.")
    LOAD_UNKNOWN_ITEM = ("Unknown rules file item", "The item is ignored.")
    LOAD_DEPRECATED_ITEM = ("Used deprecated item", "It still works, but a later version may remove it.")
    LOAD_WARNING_EXTENSION = ("Warning in extension item", "An item or key that only Lanner supports looks wrong.")
    LOAD_APPEND_NO_VALUES = ("Overriding/appending with no values", "The exception adds nothing.")
    LOAD_EXCEPTION_NAME_NOT_UNIQUE = (
        "Multiple exceptions defined with the same name",
        "Appends by that name go to the first of them.",
    )
    LOAD_INVALID_MACRO_NAME = ("Invalid macro name", "No condition can refer to it.")
    LOAD_INVALID_LIST_NAME = ("Invalid list name", "No condition can refer to it.")
    LOAD_COMPILE_CONDITION = ("Warning in rule condition", "The condition may not mean what was intended.")
    LOAD_UNKNOWN_KEY = ("Unknown key in item definition", "The key is ignored; it may be misspelled.")

    @property
    def severity(self) -> Severity:
        """How serious it is; an error makes loading fail."""
        return "error" if self.name.startswith("LOAD_ERR_") else "warning"

    @property
    def text(self) -> str:
        """A short description."""
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning."""

    code: Code
    message: str
    """Falco's text if Falco reports the same problem."""
    item_type: str
    """rule, macro, list, exception, rules content ..."""
    item_name: str
    location: SourceLocation
    hint: str = ""
    """The remedy, or the closest known name."""

    def __post_init__(self) -> None:
        for name in ("message", "item_name", "hint"):
            text = getattr(self, name)
            if len(text) > _LONGEST_TEXT:
                # A message may quote the file's text, but not megabytes of it.
                object.__setattr__(self, name, f"{text[:_LONGEST_TEXT]}...")

    @property
    def file(self) -> str:
        """The file's name as it was given."""
        return self.location.file

    @property
    def line(self) -> int:
        """The line, from 1; 0 for the whole file."""
        return self.location.line

    @property
    def column(self) -> int:
        """The column, from 1; 0 for the whole file."""
        return self.location.column


class ItemRejected(LannerError):
    """Raised to stop reading one item; reading continues with the others, so that all problems are reported at once."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
