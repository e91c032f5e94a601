"""Converts one Sigma rule, given as its detection."""

from sigma.collection import SigmaCollection

from lanner.sigma.backend import LannerBackend

RULE = """
title: {title}
id: 00000000-0000-4000-8000-00000000000{number}
name: {name}
logsource: {{product: linux, {source}}}
detection:
{detection}
level: high
"""


def rule(detection: str, source: str = "category: process_creation", name: str = "one", number: int = 1) -> str:
    """Return a rule as YAML; a detection without a condition is one selection."""
    if "condition:" not in detection:
        detection = f"selection:\n{_indented(detection)}\ncondition: selection"
    return RULE.format(title=name, number=number, name=name, source=source, detection=_indented(detection))


def condition(detection: str, source: str = "category: process_creation", *, exact_paths: bool = False) -> str:
    """Return the condition for a detection. Raises SigmaError."""
    backend = LannerBackend(exact_paths=exact_paths)
    found = backend.convert(SigmaCollection.from_yaml(rule(detection, source)))[0]
    assert isinstance(found, str)
    return found


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip("\n").split("\n"))
