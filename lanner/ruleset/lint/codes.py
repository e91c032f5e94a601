"""The kinds of problems that only Lanner reports; docs/rules-lints.md has a section with examples for each."""

from enum import Enum

from processor.loading.problems.model import Severity


class LintCode(Enum):
    """A likely mistake in rules that load; the value is a short description.

    Rules with any of these load and run, as in Falco. Errors are certain mistakes: `lanner rules validate` fails.
    """

    LINT_CONTRADICTION = "Comparisons that can't be true together"
    LINT_DUPLICATE_NAME = "Two items of one name in a file"
    LINT_TYPOGRAPHIC_QUOTE = "Typographic quotation marks"
    LINT_EMPTY_LIST = "Comparison with an empty list"
    LINT_EVENT_TYPE_NOT_COLLECTED = "Event type that no collector sends"
    LINT_EXCEPTION_NEVER_APPLIES = "Exception that the condition excludes"
    LINT_FIELD_NEVER_FILLED = "Field that never has a value"
    LINT_GLOB = "Pattern that is compared literally"
    LINT_LONG_NAME = "Process name of more than 15 bytes"
    LINT_NAME_AS_PATH = "Name that is compared with a path"
    LINT_PATH_AS_NAME = "Path that is compared with a name"
    LINT_SHADOWED_RULE = "Rule that never matches first"
    LINT_TRAILING_SLASH = "Path that ends with a slash"
    LINT_UNBOUNDED_ALTERNATIVE = "Alternative that restricts no event type"
    LINT_UNREAL_PATH = "Path in a form that no value has"
    LINT_UNKNOWN_LIST = "Value that looks like the name of a list"
    LINT_UNKNOWN_IGNORE = "Comment that ignores an unknown code"
    LINT_REDEFINED = "Item that redefines one of another file"

    @property
    def severity(self) -> Severity:
        """How serious it is."""
        if self in _ERRORS:
            return "error"
        return "info" if self is LintCode.LINT_REDEFINED else "warning"

    @property
    def is_error(self) -> bool:
        """Whether it is an error."""
        return self in _ERRORS


_ERRORS = frozenset({LintCode.LINT_CONTRADICTION, LintCode.LINT_DUPLICATE_NAME, LintCode.LINT_TYPOGRAPHIC_QUOTE})
