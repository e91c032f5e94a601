"""Writes a condition that somebody searched for as a rule, and checks it as rule files are checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from foundation.yaml.text import yaml_scalar
from lanner.recorder.search import BadCondition, SearchProblem, compile_search
from processor.loading import RuleFile, load_rules
from schemas.catalog.fields import resolve_field

MAX_NAME = 100
_FILE = "(draft)"
_OUTPUT = ("evt.hostname", "user.name", "proc.cmdline", "fd.name", "container.name")
"""What the output states if no fields are given."""


@dataclass(frozen=True, slots=True)
class DraftedRule:
    """A rule that loads."""

    text: str
    """The item of a rule file."""
    warnings: tuple[SearchProblem, ...] = ()


def drafted_rule(condition: str, name: str, fields: Sequence[str], files: Sequence[RuleFile]) -> DraftedRule:
    """Return a condition as a rule.

    Args:
        condition: in the language of rules.
        name: of the rule.
        fields: what its output states.
        files: rule files whose macros and lists the condition uses, and whose rules have other names.

    Raises:
        BadCondition: It is no condition, or the rule would not load.
    """
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise BadCondition(SearchProblem(f"the rule needs a name of at most {MAX_NAME} characters"))
    if any(resolve_field(each) is None for each in fields):
        raise BadCondition(SearchProblem("a field is not known", "`lanner fields` lists them"))
    compile_search(condition, files)
    lines = condition.replace("\r\n", "\n").strip().split("\n")
    output = " ".join(f"{each}=%{each}" for each in fields or _OUTPUT)
    text = "\n".join(
        (
            f"- rule: {yaml_scalar(name)}",
            f"  desc: {yaml_scalar(f'{name}; describe what it means, and why it is worth an alert')}",
            "  condition: |-",
            *(f"    {line}".rstrip() for line in lines),
            f"  output: {yaml_scalar(f'{name} | {output}')}",
            "  priority: NOTICE",
            "  tags: [hunt]",
            "",
        )
    )
    found = load_rules((*files, RuleFile(_FILE, text)))
    if any(each.type == "rule" and each.name == name for each in found.redefinitions):
        raise BadCondition(SearchProblem("another rule has this name", "choose another one, so that it isn't replaced"))
    own = [each for each in found.errors if each.file == _FILE]
    if own:
        raise BadCondition(*(SearchProblem(each.message, each.hint) for each in own))
    warnings = (SearchProblem(each.message, each.hint) for each in found.warnings if each.file == _FILE)
    return DraftedRule(text, tuple(warnings))
