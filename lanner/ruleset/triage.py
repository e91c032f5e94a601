"""Make a page for each rule, from the rule itself, so that both agree: what to do about its alerts.

The site has these pages, and `lanner rules show` prints them.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from lanner.demo import ACTS, WITHOUT_ACTION
from lanner.ruleset.active import ActiveRules
from processor.language.ast import Field
from processor.language.printer import print_operand
from processor.loading import LoadResult, Rule
from processor.output.tokens import Token, parse_output
from processor.rule import without_window_tokens
from schemas.catalog.attack import tactics, techniques
from schemas.catalog.fields import FIELDS

Loaded = LoadResult | ActiveRules
"""Rules with the macros, lists and correlations that they use."""
COMMON = {
    *("evt.type", "user.name", "user.uid", "user.loginuid", "proc.name", "proc.exepath", "proc.pname", "proc.cmdline"),
    *("proc.aname[2]", "proc.aname[3]", "proc.aname[4]", "proc.tty"),
    *("container.id", "container.name", "container.image.repository", "container.image.tag"),
    *("k8s.pod.name", "k8s.ns.name"),
}
"""The fields that the outputs of all built-in rules have."""
_KNOWN = "known_"
_EXAMPLES = {
    "container.image.repository": "registry.example/team/app",
    "container.name": "my-",
    "fd.name": "/srv/my-data/",
    "fd.sip": "203.0.113.9",
    "fs.path.name": "/srv/my-data/",
    "fs.path.target": "/srv/my-data/",
    "proc.codepath": "/usr/bin/my-program",
    "proc.pcodepath": "/usr/bin/my-parent",
    "user.name": "my-account",
}
"""Values of the fields of exceptions."""
_NAME = re.compile(r"\w+")
_SENTENCE_END = re.compile(r"(?<=[A-Za-z0-9)]\.)\s+")
_AS_CODE = re.compile(r"`[^`]*`|(?<![\w/])(/[\w./-]*\w|[\w.]*_[\w.]*\w)")


def page_name(rule: str) -> str:
    """Return the file name of a rule's page."""
    return "-".join(re.findall(r"[a-z0-9]+", rule.lower())) + ".md"


def triage_page(rule: Rule, loaded: Loaded) -> str:
    """Return the page of a rule as Markdown; it links other pages as from a folder in docs/."""
    return "".join(_page(rule, loaded))


def triage_table(loaded: Loaded) -> str:
    """Return a table of the rules with what each reports, as Markdown with links to their pages."""
    rows = "".join(
        f"| [{rule.name}](triage/{page_name(rule.name)}) | {rule.priority} | {_code(sentences(rule)[0])} |\n"
        for rule in loaded.rules
    )
    return f"| Rule | Priority | What happened |\n|---|---|---|\n{rows}"


def sentences(rule: Rule) -> tuple[str, str, str]:
    """Split a rule's description into what happened, why it matters, and what is harmless.

    The first sentence says what happened. Harmless causes begin with the sentence that names an item to fill.
    """
    what, *others = _SENTENCE_END.split(rule.description)
    why = list(takewhile(lambda sentence: _KNOWN not in sentence, others))
    return what, " ".join(why), " ".join(others[len(why) :])


@dataclass(frozen=True, slots=True)
class ExampleException:
    """A list or macro that excludes harmless events from a rule, and how to fill it."""

    name: str
    field: str
    """The field whose values a list contains; empty for a macro."""
    is_audit: bool = False
    """True if a macro is about Kubernetes audit events."""

    @property
    def yaml(self) -> str:
        """An example for a rule file that is loaded later."""
        if self.field:
            item = "registry.example/team/app" if "image" in self.field else _EXAMPLES.get(self.field, "my-program")
            return f"- list: {self.name}\n  items: [{item}]\n  override:\n    items: append\n"
        condition = "proc.codepath = /usr/bin/my-program and proc.pcodepath = /usr/bin/my-parent"
        if self.is_audit:
            condition = "ka.user.name = my-user and ka.target.namespace = my-namespace"
        return f"- macro: {self.name}\n  condition: ({condition})\n  override:\n    condition: replace\n"


def exceptions(rule: Rule, loaded: Loaded) -> list[ExampleException]:
    """Return the lists and macros, empty by default, that exclude events from a rule."""
    used = _used(rule.condition_text, loaded)
    return [
        ExampleException(name, _compared_with(name, text))
        if name in loaded.lists
        else ExampleException(name, "", "ka." in (loaded.macros[name].condition_text or ""))
        for name, text in used.items()
    ]


def exceptions_yaml(rule: Rule) -> str:
    """Return an example of values for each exception of a rule, as an item of a rule file that is loaded later."""
    lines = [f"- rule: {rule.name}", "  exceptions:"]
    for each in rule.exceptions:
        values = ", ".join(_EXAMPLES.get(field, "value") for field in each.fields)
        lines += [f"    - name: {each.name}", "      values:", f"        - [{values}]"]
    return "\n".join([*lines, "  override:", "    exceptions: append", ""])


def _page(rule: Rule, loaded: Loaded) -> Iterator[str]:
    what, why, harmless = sentences(rule)
    attack = (*tactics(rule.tags), *techniques(rule.tags))
    links = ", ".join(f"[{each.name or each.id}]({each.link})" for each in attack)
    yield f"# {' '.join(rule.name.split())}\n\n| priority | enabled | MITRE ATT&CK |\n|---|---|---|\n"
    yield f"| {rule.priority} | {'yes' if rule.enabled else 'no'} | {links} |\n"
    for title, text in (("What it means", what), ("Why it matters", why), ("What to look at", rule.response)):
        if text:
            yield f"\n## {title}\n\n{_prose(text)}\n"
    if own := [field for field in _output_fields(rule) if field not in COMMON]:
        rows = "".join(map(field_row, own))
        yield "\nIn addition to [the fields of every alert](../triage.md#fields-of-every-alert), this one has:\n\n"
        yield f"| Field | Description |\n|---|---|\n{rows}"
    yield from _false_positives(rule, loaded, harmless)
    if not rule.enabled:
        yield "\n## Enable it\n\n"
        yield f"```yaml\n- rule: {rule.name}\n  enabled: true\n  override:\n    enabled: replace\n```\n"
    actions = [action for action in ACTS if action.rule == rule.name]
    reason = WITHOUT_ACTION.get(rule.name)
    if not actions and reason is None:
        return
    in_kubernetes = Path(rule.file).parent.name == "kubernetes"
    if in_kubernetes:
        yield "\n## Enable it\n\nThis rule is active if `rules/kubernetes` is loaded, too:\n"
        yield "[who opened the shell](../kubernetes-audit.md#who-opened-the-shell).\n"
    files = " -r rules -r rules/kubernetes" if in_kubernetes else ""
    demo = f'    sudo lanner demo --only "{rule.name}"\n' if reason is None else ""
    yield f'\n## Try it\n\n{demo}    lanner rules show "{rule.name}"{files} --expand\n'
    if reason is not None:
        yield f"\nThere is no demonstration. {reason}\n"
    for action in actions:
        yield f"\n| the demonstration | touches |\n|---|---|\n| {_code(action.does)} | {_code(action.touches)} |\n"


def _false_positives(rule: Rule, loaded: Loaded, harmless: str) -> Iterator[str]:
    items = exceptions(rule, loaded)
    if not (harmless or items or rule.exceptions):
        return
    yield "\n## False positives\n"
    if harmless:
        yield f"\n{_prose(harmless)}\n"
    for each in items:
        holds = (
            f"lists values of [`{each.field}`](../fields.md) that are harmless"
            if each.field
            else "is a condition that is true for harmless events"
        )
        yield f"\n`{each.name}` {holds}:\n\n```yaml\n{each.yaml}```\n"
    if rule.exceptions:
        yield "\nThe rule's [exceptions](../rules.md#exceptions) compare several fields at once; fill those you need:\n"
        yield f"\n```yaml\n{exceptions_yaml(rule)}```\n"
    elif any(name in loaded.macros and loaded.macros[name].correlation for name in _NAME.findall(rule.condition_text)):
        yield "\nAn [exception](../rules.md#exceptions) would quiet the last of several events, not undo the count.\n"


def _prose(text: str) -> str:
    return textwrap.fill(_code(text), 120, break_long_words=False, break_on_hyphens=False)


def _code(text: str) -> str:
    return _AS_CODE.sub(lambda found: f"`{found[1]}`" if found[1] else found[0], text)


def _used(condition: str, loaded: Loaded) -> Mapping[str, str]:
    """Return the items to fill that a condition uses, at any depth, each with the text that uses it."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    todo = [condition]
    while todo:
        text = todo.pop()
        for name in _NAME.findall(text):
            if name.startswith(_KNOWN) and (name in loaded.lists or name in loaded.macros):
                found.setdefault(name, text)
            elif name in loaded.macros and name not in seen:
                seen.add(name)
                macro = loaded.macros[name]
                todo.append(macro.condition_text or "")
                todo.extend(macro.correlation.legs if macro.correlation else ())
    return found


def _compared_with(name: str, text: str) -> str:
    """Return the field that a condition compares with a list."""
    compared = re.search(rf"([\w.]+) in \([^()]*\b{name}\b", text)
    return compared[1] if compared else "proc.name"


def _output_fields(rule: Rule) -> list[str]:
    sides = (part.side for part in parse_output(without_window_tokens(rule.output)) if isinstance(part, Token))
    return list(dict.fromkeys(print_operand(side) for side in sides if isinstance(side, Field)))


def field_row(name: str) -> str:
    """Return the row of a field in a table, as Markdown."""
    plain = name.partition("[")[0]
    spec = FIELDS.get(plain) or FIELDS.get(plain.rpartition(".")[0])  # evt.arg.flags is evt.arg with a key
    return f"| `{name}` | {spec.description if spec else ''} |\n"
