"""What can be wrong with rule files, as values: they can be compared, collected, sorted and shown."""

from dataclasses import dataclass
from enum import Enum

from schemas.errors import LannerError

_LONGEST_TEXT = 1000


class ProblemCode(Enum):
    """A kind of problem; the names are Falco's, so that people and tools find what they know.

    The value is a short text and what the problem leads to.
    """

    LOAD_ERR_FILE_READ = ("File read error", "The file is missing or can't be read; none of its rules is loaded.")
    LOAD_ERR_YAML_PARSE = ("YAML parse error", "The text is not YAML; none of the file's rules is loaded.")
    LOAD_ERR_YAML_VALIDATE = (
        "Error validating internal structure of YAML file",
        "An item lacks a key, or a key has a value of the wrong shape.",
    )
    LOAD_ERR_COMPILE_CONDITION = (
        "Error compiling condition",
        "The condition can't be read, or compares what can't be compared.",
    )
    LOAD_ERR_COMPILE_OUTPUT = ("Error compiling output", "The output names a field that can't be printed.")
    LOAD_ERR_VALIDATE = (
        "Error validating rule/macro/list/exception objects",
        "Items don't fit together: an unknown macro, something appended to nothing, lists of different length.",
    )
    LOAD_ERR_EXTENSION = ("Error in extension item", "An item or key that only Lanner knows is wrong.")
    LOAD_UNKNOWN_SOURCE = ("Unknown event source", "The rule's source isn't there, so the rule is left out.")
    LOAD_UNSAFE_NA_CHECK = (
        "Unsafe <NA> comparison in condition",
        "A missing value is not the text <NA>, so the comparison is never true; ask with exists.",
    )
    LOAD_NO_EVTTYPE = (
        "Condition has no event-type restriction",
        "The rule is judged for nearly every event, which costs time; ask for evt.type.",
    )
    LOAD_UNKNOWN_FILTER = (
        "Unknown field or event-type in condition or output",
        "The rule says skip-if-unknown-filter, so it is left out.",
    )
    LOAD_UNUSED_MACRO = ("Unused macro", "No rule and no macro uses it.")
    LOAD_UNUSED_LIST = ("Unused list", "No rule, macro or list uses it.")
    LOAD_UNKNOWN_ITEM = ("Unknown rules file item", "The item is left out.")
    LOAD_DEPRECATED_ITEM = ("Used deprecated item", "It works, and a later version may drop it.")
    LOAD_WARNING_EXTENSION = ("Warning in extension item", "An item or key that only Lanner knows looks wrong.")
    LOAD_APPEND_NO_VALUES = ("Overriding/appending with no values", "The exception adds nothing.")
    LOAD_EXCEPTION_NAME_NOT_UNIQUE = (
        "Multiple exceptions defined with the same name",
        "What is appended by that name goes to the first of them.",
    )
    LOAD_INVALID_MACRO_NAME = ("Invalid macro name", "No condition can name it.")
    LOAD_INVALID_LIST_NAME = ("Invalid list name", "No condition can name it.")
    LOAD_COMPILE_CONDITION = ("Warning in rule condition", "The condition may not mean what it says.")
    LOAD_UNKNOWN_KEY = ("Unknown key in item definition", "The key is left out; it may be a typing mistake.")

    @property
    def is_error(self) -> bool:
        """Whether loading fails by it."""
        return self.name.startswith("LOAD_ERR_")

    @property
    def text(self) -> str:
        """The kind in a few words."""
        return self.value[0]

    @property
    def impact(self) -> str:
        """What it leads to."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Where in a file a problem is; lines and columns count from 1, in characters."""

    file: str
    line: int = 0
    """0 where the whole file is meant."""
    column: int = 0
    width: int = 0
    """How many characters of the line are meant."""
    text: str = ""
    """The line, as it stands in the file; of a very long one the part around the column."""
    text_start: int = 0
    """How many characters of the line are left out before that part."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error or warning."""

    code: ProblemCode
    message: str
    """Falco's words where Falco has the same problem."""
    item_type: str
    """rule, macro, list, exception, rules content ..."""
    item_name: str
    place: SourceLocation
    hint: str = ""
    """What to do, or the nearest name that is known."""

    def __post_init__(self) -> None:
        for name in ("message", "item_name", "hint"):
            text = getattr(self, name)
            if len(text) > _LONGEST_TEXT:
                # What a file writes is told, but not by the megabyte.
                object.__setattr__(self, name, f"{text[:_LONGEST_TEXT]}...")

    @property
    def file(self) -> str:
        """The file's name as it was given."""
        return self.place.file

    @property
    def line(self) -> int:
        """From 1; 0 for the whole file."""
        return self.place.line

    @property
    def column(self) -> int:
        """From 1; 0 for the whole file."""
        return self.place.column

    @property
    def snippet(self) -> str:
        """The line that the problem is in."""
        return self.place.text


class ItemRejected(LannerError):
    """Ends the reading of one item; the others are read on, so that all problems come to light at once."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
