"""The JSON schema of the settings file, for editors; made from the same classes that read it."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lanner.settings.named import KINDS
from lanner.settings.render import plain
from lanner.settings.sections.delivery import AlertMatch, Condition
from lanner.settings.sections.model import ExtraField, Settings

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
    return {"$schema": DRAFT, "title": "Settings of Lanner", **_section(Settings)}


def _section(section: Any) -> dict[str, Any]:
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
        return {"anyOf": [{"type": "string"}, _section(expected)]}
    if origin is Mapping:
        kinds = {"oneOf": [_named(name, section) for name, section in KINDS.items()]}
        return {"type": ["object", "null"], "additionalProperties": False, "patternProperties": {_SINK_NAME: kinds}}
    if dataclasses.is_dataclass(expected):
        return _section(expected)
    if origin is tuple:
        inner = _schema(get_args(expected)[0])
        return {"anyOf": [{"type": "array", "items": inner}, inner, {"type": "null"}]}
    if origin is Literal:
        return {"enum": list(get_args(expected))}
    return dict(_SCALARS[expected])


def _named(kind: str, section: Any) -> dict[str, Any]:
    schema = _section(section)
    schema["properties"] = {"type": {"const": kind}, **schema["properties"]}
    return {**schema, "type": "object", "required": ["type"]}
