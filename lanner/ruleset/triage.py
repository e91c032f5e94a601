"""Generates docs/triage/ from the rules, so that what to do with an alert agrees with the rule that raised it."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from lanner.demo.acts import ACTS, WITHOUT_ACTION
from processor.language.ast import Field
from processor.language.printer import print_operand
from processor.loading import LoadResult, Rule
from processor.output.tokens import Token, parse_output, without_correlation
from schemas.catalog.attack import tactics, techniques
from schemas.catalog.fields import FIELDS

_HEAD = """# Triage: what to do about an alert

One page for each built-in rule, and for each in `rules/kubernetes`: what its alert means, why it matters, what to look
at, and how to exclude what is harmless on your hosts. `make docs` generates these pages from the rules' own texts,
which alerts carry too (`desc` and `response`).

"""
_FIRST_STEPS = """
## For any alert

1. Who did it, and where? `user` and `user_loginuid` (the user who logged in, also after `sudo`), the command, its
   parents (`parent`, `gparent`, …), container and pod are in the alert.
2. What happened before and after? `lanner context ID` shows the processes and events around an alert:
   [the flight recorder](../flight-recorder.md).
3. Did the same user, host or container raise others? `lanner alerts list --since 1h`; in a fleet also `--host NAME`.
4. If it is unclear why the rule matched, `lanner rules show "RULE" --expand` prints the condition, and
   `lanner rules explain "RULE" --event-id ID` evaluates it part by part on the event of the alert.
5. If the event is harmless, exclude it as the rule's page shows, in a file of your own in `/etc/lanner/rules.d/`, and
   run `lanner rules validate`. Exclude as little as possible: a program with its parent or its file, not a name alone.

Alerts whose rule begins with *Lanner internal* are about Lanner itself:
[hosts and losses](../hosts.md#what-processors-report-about-hosts), [rules](../rules-in-the-fleet.md).

## Fields of every alert

Every output has these, as far as the event has values for them:

"""
_COMMON = {
    *("evt.type", "user.name", "user.uid", "user.loginuid", "proc.name", "proc.exepath", "proc.pname", "proc.cmdline"),
    *("proc.aname[2]", "proc.aname[3]", "proc.aname[4]", "proc.tty"),
    *("container.id", "container.name", "container.image.repository", "container.image.tag"),
    *("k8s.pod.name", "k8s.ns.name"),
}
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


def triage_page(rule: Rule) -> Path | None:
    """Return the path of a rule's page beside the folder of its file, as in a checkout; None if there is none."""
    pages = (each / "docs" / "triage" / page_name(rule.name) for each in Path(rule.file).resolve().parents[1:3])
    return next(filter(Path.is_file, pages), None)


def triage_pages(loaded: LoadResult) -> dict[str, str]:
    """Return the pages as Markdown by file name, index.md with a table of them first."""
    rows = "".join(
        f"| [{rule.name}]({page_name(rule.name)}) | {rule.priority} | {_code(sentences(rule)[0])} |\n"
        for rule in loaded.rules
    )
    common = "".join(map(_field_row, sorted(_COMMON)))
    table = f"| Rule | Priority | What happened |\n|---|---|---|\n{rows}"
    index = f"{_HEAD}{table}{_FIRST_STEPS}| Field | Description |\n|---|---|\n{common}"
    return {"index.md": index} | {page_name(rule.name): "".join(_page(rule, loaded)) for rule in loaded.rules}


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
    """The field whose values a list holds; empty for a macro."""
    is_audit: bool = False
    """Whether a macro is about Kubernetes audit events."""

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


def exceptions(rule: Rule, loaded: LoadResult) -> list[ExampleException]:
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
        values = ", ".join(_EXAMPLES[field] for field in each.fields)
        lines += [f"    - name: {each.name}", "      values:", f"        - [{values}]"]
    return "\n".join([*lines, "  override:", "    exceptions: append", ""])


def _page(rule: Rule, loaded: LoadResult) -> Iterator[str]:
    what, why, harmless = sentences(rule)
    attack = (*tactics(rule.tags), *techniques(rule.tags))
    links = ", ".join(f"[{each.name or each.id}]({each.link})" for each in attack)
    yield f"# {rule.name}\n\n| priority | enabled | MITRE ATT&CK |\n|---|---|---|\n"
    yield f"| {rule.priority} | {'yes' if rule.enabled else 'no'} | {links} |\n"
    yield f"\n## What it means\n\n{_prose(what)}\n\n## Why it matters\n\n{_prose(why)}\n"
    yield f"\n## What to look at\n\n{_prose(rule.response)}\n"
    if own := [field for field in _output_fields(rule) if field not in _COMMON]:
        rows = "".join(map(_field_row, own))
        yield "\nIn addition to [the fields of every alert](index.md#fields-of-every-alert), this one has:\n\n"
        yield f"| Field | Description |\n|---|---|\n{rows}"
    yield f"\n## False positives\n\n{_prose(harmless)}\n"
    for each in exceptions(rule, loaded):
        holds = (
            f"lists values of [`{each.field}`](../fields.md) that are"
            if each.field
            else "is a condition that is true for"
        )
        yield f"\n`{each.name}` {holds} harmless{'' if each.field else ' events'}:\n\n```yaml\n{each.yaml}```\n"
    if rule.exceptions:
        yield "\nThe rule's [exceptions](../rules.md#exceptions) compare several fields at once; fill those you need:\n"
        yield f"\n```yaml\n{exceptions_yaml(rule)}```\n"
    else:
        yield "\nAn [exception](../rules.md#exceptions) would quiet the last of several events, not undo the count.\n"
    if not rule.enabled:
        yield "\n## Enable it\n\n"
        yield f"```yaml\n- rule: {rule.name}\n  enabled: true\n  override:\n    enabled: replace\n```\n"
    folder = Path(rule.file).parent.name
    if folder == "kubernetes":
        yield "\n## Enable it\n\nThis rule is active if `rules/kubernetes` is loaded, too:\n"
        yield "[who opened the shell](../kubernetes-audit.md#who-opened-the-shell).\n"
    files = " -r rules -r rules/kubernetes" if folder == "kubernetes" else ""
    reason = WITHOUT_ACTION.get(rule.name)
    demo = f'    sudo lanner demo --only "{rule.name}"\n' if reason is None else ""
    yield f'\n## Try it\n\n{demo}    lanner rules show "{rule.name}"{files} --expand\n'
    if reason is not None:
        yield f"\nThere is no demonstration. {reason}\n"
    for action in ACTS:
        if action.rule == rule.name:
            yield f"\n| the demonstration | touches |\n|---|---|\n| {_code(action.does)} | {_code(action.touches)} |\n"


def _prose(text: str) -> str:
    return textwrap.fill(_code(text), 120, break_long_words=False, break_on_hyphens=False)


def _code(text: str) -> str:
    return _AS_CODE.sub(lambda found: f"`{found[1]}`" if found[1] else found[0], text)


def _used(condition: str, loaded: LoadResult) -> Mapping[str, str]:
    """Return the items to fill that a condition uses, at any depth, each with the text that uses it."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    todo = [condition]
    while todo:
        text = todo.pop()
        for name in _NAME.findall(text):
            if name.startswith(_KNOWN):
                found.setdefault(name, text)
            elif name in loaded.macros and name not in seen:
                seen.add(name)
                todo.append(loaded.macros[name].condition_text or "")
                todo.extend(loaded.correlations[name].legs if name in loaded.correlations else ())
    return found


def _compared_with(name: str, text: str) -> str:
    """Return the field that a condition compares with a list."""
    compared = re.search(rf"([\w.]+) in \([^()]*\b{name}\b", text)
    return compared[1] if compared else "proc.name"


def _output_fields(rule: Rule) -> list[str]:
    sides = (part.side for part in parse_output(without_correlation(rule.output)) if isinstance(part, Token))
    return list(dict.fromkeys(print_operand(side) for side in sides if isinstance(side, Field)))


def _field_row(name: str) -> str:
    plain = name.partition("[")[0]
    spec = FIELDS.get(plain) or FIELDS[plain.rpartition(".")[0]]  # evt.arg.flags is evt.arg with a key
    return f"| `{name}` | {spec.description} |\n"
