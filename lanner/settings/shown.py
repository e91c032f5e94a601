"""The JSON schema of the settings file, for editors; made from the same classes that read it."""

import dataclasses
import json
import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from lanner.settings.sections.model import KINDS, Settings
from lanner.settings.sections.sinks import AlertMatch, Condition, ExtraField

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


DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest draft that YAML extensions of editors support."""
_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": ["string", "number"]},
    bool: {"type": "boolean"},
    int: {"type": "integer", "minimum": 0},
}
_SINK_NAME = "^[a-z][a-z0-9_]{0,39}$"


def settings_schema() -> dict[str, Any]:
    """Return the schema of the settings file."""
    return {"$schema": DRAFT, "title": "Settings of Lanner", **_schema_section(Settings)}


def _schema_section(section: Any) -> dict[str, Any]:
    hints = get_type_hints(section)
    default = section()
    found = {}
    for item in dataclasses.fields(section):
        described = {"description": item.metadata["about"]} if "about" in item.metadata else {}
        value = plain(getattr(default, item.name))
        if isinstance(value, str | int | bool) and not item.metadata.get("hides"):
            described["default"] = value
        found[item.name] = {**_schema(hints[item.name]), **described}
    # A section whose settings are all commented out is empty.
    return {"type": ["object", "null"], "additionalProperties": False, "properties": found}


def _schema(expected: Any) -> dict[str, Any]:
    origin = get_origin(expected)
    if origin in (Union, types.UnionType):
        inner = next(kind for kind in get_args(expected) if kind is not types.NoneType)
        return {"anyOf": [_schema(inner), {"type": "null"}]}
    if expected is ExtraField:
        return {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}
    if expected is Condition:
        return {"type": "string"}
    if expected is AlertMatch:
        return {"anyOf": [{"type": "string"}, _schema_section(expected)]}
    if origin is Mapping:
        kinds = {"oneOf": [_named(name, section) for name, section in KINDS.items()]}
        return {"type": ["object", "null"], "additionalProperties": False, "patternProperties": {_SINK_NAME: kinds}}
    if dataclasses.is_dataclass(expected):
        return _schema_section(expected)
    if origin is tuple:
        inner = _schema(get_args(expected)[0])
        return {"anyOf": [{"type": "array", "items": inner}, inner, {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(get_args(expected))}
    return dict(_SCALARS[expected])


def _named(kind: str, section: Any) -> dict[str, Any]:
    schema = _schema_section(section)
    schema["properties"] = {"type": {"const": kind}, **schema["properties"]}
    return {**schema, "type": "object", "required": ["type"]}


HIDDEN = "***"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
"""The user name and password of a URL, before its host."""


def masked(section: Any) -> Any:
    """Return settings, or a part of them, without secrets: paths of URLs, header values, passwords."""
    changed = {}
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        hides = item.metadata.get("hides", "")
        if hides and isinstance(value, str):
            changed[item.name] = _host_of(value) if hides == "address" else HIDDEN
        else:
            changed[item.name] = _masked(value)
    return dataclasses.replace(section, **changed)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _CREDENTIALS.sub(f"{HIDDEN}@", value)
    if isinstance(value, tuple):
        return tuple(map(_masked, value))
    if isinstance(value, Mapping):
        return {name: _masked(each) for name, each in value.items()}
    return masked(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _host_of(address: str) -> str:
    """Return the part of a URL that isn't secret; services put tokens into path, query and fragment."""
    try:
        parts = urlsplit(address)
        host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return HIDDEN
    if not parts.scheme or not parts.hostname:
        return HIDDEN
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
    return f"{parts.scheme}://{f'{HIDDEN}@' if '@' in parts.netloc else ''}{host}/{'' if is_bare else HIDDEN}"
