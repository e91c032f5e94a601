"""Settings as YAML, for `lanner config default` and `lanner config show`."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from lanner.settings.named import KINDS
from lanner.settings.sections.delivery import Condition
from lanner.settings.sections.model import ExtraField, Settings

HEADER = """\
# Settings of Lanner. Looked for in: --config, $LANNER_CONFIG, ./lanner.yaml, /etc/lanner/lanner.yaml.
# Each can be overridden by an environment variable (LANNER__FILE_OUTPUT__ENABLED=true) and by a flag
# (-o file_output.enabled=true). These are the defaults.
"""


def render(settings: Settings, *, comments: bool) -> str:
    """Return settings as YAML that parses to the same settings; with comments, each setting is described."""
    body = "\n".join(_section(settings, "", comments=comments)) + "\n"
    return HEADER + body if comments else body


def plain(value: Any) -> Any:
    """Return a setting as plain lists, mappings and scalars, for JSON."""
    if isinstance(value, ExtraField):
        return value.name if value.format is None else {value.name: value.format}
    if isinstance(value, Condition):
        return value.text
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {name: item for name, item in fields.items() if item is not None}
    if isinstance(value, Mapping):
        kinds = {section: kind for kind, section in KINDS.items()}
        return {name: {"type": kinds[type(each)]} | plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def _section(section: Any, indent: str, *, comments: bool) -> Iterator[str]:
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if comments:
            if not indent:
                yield ""
            yield from (f"{indent}# {line}" for line in item.metadata["about"].splitlines())
        if isinstance(value, Mapping) and value:
            yield f"{indent}{item.name}:"
            for name, named in value.items():
                yield f"{indent}  {name}:"
                yield f"{indent}    type: {plain(value)[name]['type']}"
                yield from _section(named, indent + "    ", comments=comments)
        elif dataclasses.is_dataclass(value):
            yield f"{indent}{item.name}:"
            yield from _section(value, indent + "  ", comments=comments)
        elif value is None:
            yield f"{indent}# {item.name}:" if comments else f"{indent}{item.name}: null"
        else:
            # JSON is YAML, and quotes whatever YAML would misread.
            scalar = value if isinstance(value, str) and value.isidentifier() else json.dumps(plain(value))
            yield f"{indent}{item.name}: {scalar}"
