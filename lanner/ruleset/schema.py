"""The JSON schema of rule files, for editors; its keys are those that the loader knows."""

from typing import Any

from processor.actions.policies import MAX_APPROVALS, MAX_PER_HOUR
from processor.indicators.formats import COLUMNS
from processor.language.tokens import LIST_OPERATORS, OPERATORS
from processor.loading.definitions import EXTENSION_KEYS
from processor.loading.items import actions, indicators
from processor.loading.items.correlations import MAX_VALUE_FIELDS
from processor.loading.items.rules import OVERRIDABLE
from processor.loading.reader import KINDS
from processor.rule import TYPES
from schemas.action import ACTION_KINDS
from schemas.catalog.priorities import BY_NAME

_TEXT = {"type": "string"}
_SCALAR = {"type": ["string", "number", "boolean"]}
_TRUTH = {"type": "boolean"}
_TEXTS = {"type": "array", "items": _SCALAR}
_DURATION = {"type": "string", "pattern": r"^[0-9]+(ms|s|m|h|d)$"}
_COMPS = {"anyOf": [{"enum": list(OPERATORS)}, {"type": "string", "pattern": " (oneof|anyof|allof)$"}]}
_ENTRIES = {"type": "array", "items": {"anyOf": [_SCALAR, {"type": "array", "items": {"anyOf": [_SCALAR, _TEXTS]}}]}}
_EXCEPTION = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {**_TEXT, "description": "Name of the exception; other files append values by it."},
        "fields": {"anyOf": [_TEXT, _TEXTS], "description": "A field, or a list of fields."},
        "comps": {
            "anyOf": [{"enum": list(LIST_OPERATORS)}, _COMPS, {"type": "array", "items": _COMPS}],
            "description": "One operator for each field; = by default, or `in` for a single field.",
        },
        "values": {**_ENTRIES, "description": "For a list of fields, a list of lists; for a single field, a list."},
    },
}
_CORRELATION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": list(TYPES)},
        "group-by": {"anyOf": [_TEXT, _TEXTS]},
        "timespan": _DURATION,
        "condition": {"type": "object"},
        "macros": _TEXTS,
        "until": _TEXT,
        "rules": {
            "anyOf": [
                _TEXTS,
                {
                    "type": "object",
                    "required": ["tags"],
                    "additionalProperties": False,
                    "properties": {"tags": {"anyOf": [_TEXT, _TEXTS]}},
                },
            ]
        },
        "aliases": {"type": "object"},
        "field": {"anyOf": [_TEXT, {**_TEXTS, "minItems": 1, "maxItems": MAX_VALUE_FIELDS}]},
        "lookback": _DURATION,
        "learning": _DURATION,
    },
    "if": {"properties": {"type": {"enum": [name for name, kind in TYPES.items() if kind.remembers_values]}}},
    "then": {"required": ["lookback"]},
    "else": {"required": ["timespan"]},
}
_PRIORITIES = "|".join("".join(f"[{letter}{letter.upper()}]" for letter in name) for name in BY_NAME)
"""In any case; patterns of JavaScript, which most editors use, can't ignore it."""
_PRIORITY = {"type": "string", "pattern": f"^({_PRIORITIES})$"}
_ITEMS: dict[str, dict[str, tuple[dict[str, Any], str]]] = {
    "list": {"list": (_TEXT, "Name of the list."), "items": (_TEXTS, "Values, or names of earlier lists.")},
    "macro": {
        "macro": (_TEXT, "Name of the macro."),
        "condition": (_TEXT, "A condition; it can use the macros before it."),
        "correlation": (_CORRELATION, "Makes the macro stateful: docs/stateful-macros.md."),
    },
    "rule": {
        "rule": (_TEXT, "Name of the rule; unique."),
        "condition": (_TEXT, "When the rule matches an event."),
        "output": (_TEXT, "Text of an alert; %FIELD is replaced by the field's value."),
        "desc": (_TEXT, "What the rule detects and why it matters."),
        "response": (_TEXT, "What to look at first when the rule raises an alert."),
        "actions": (_TEXTS, "Names of items `action` that the rule's alerts request: docs/actions.md."),
        "priority": (_PRIORITY, f"One of {', '.join(BY_NAME)}."),
        "source": (
            _TEXT,
            "The events' source: syscall (default), k8s_audit, github, aws_cloudtrail, okta, sshd, json, or your own.",
        ),
        "enabled": (_TRUTH, "Whether the rule is active; true by default."),
        "tags": (_TEXTS, "Tags, by which settings enable and disable rules."),
        "exceptions": ({"type": "array", "items": _EXCEPTION}, "What the rule must not match."),
        "suppress": (
            {"type": "object", "required": ["for"], "properties": {"by": {"anyOf": [_TEXT, _TEXTS]}, "for": _DURATION}},
            "Reports repeats once: docs/stateful-macros.md.",
        ),
        "warn_evttypes": (_TRUTH, "Whether to warn if the condition restricts no event types; true by default."),
        "skip-if-unknown-filter": (_TRUTH, "Whether to skip the rule, without an error, if a field is unknown."),
        "capture": (_TRUTH, "Ignored: Falco's captures are not supported."),
        "capture_duration": ({"type": "integer"}, "Ignored: Falco's captures are not supported."),
    },
}
_INDICATORS: dict[str, Any] = {
    "required": ["indicators", "file", "kind"],
    "additionalProperties": False,
    "properties": {
        "indicators": {**_TEXT, "description": "Name of the list; conditions use it after in_indicators."},
        "file": {**_TEXT, "description": "The file: published if its path is relative, each processor's own if not."},
        "kind": {"enum": list(indicators.KINDS), "description": "What its entries are."},
        "format": {"enum": list(indicators.FORMATS), "description": "By default, that of the file's name."},
        "columns": {"type": "object", "properties": dict.fromkeys(COLUMNS, _TEXT), "additionalProperties": False},
        "source": {**_TEXT, "description": "Who provides it; alerts say so."},
        "expires_after": {**_DURATION, "description": "How old the file may be before its entries no longer match."},
    },
}
_COUNT = {"type": "integer", "minimum": 1, "maximum": MAX_PER_HOUR}
_TEXT_OR_TEXTS = {"anyOf": [_TEXT, _TEXTS]}
_ACTION: dict[str, Any] = {
    "required": ["action", "type", "target"],
    "additionalProperties": False,
    "properties": {
        "action": {**_TEXT, "description": "Name of the action policy; unique."},
        "desc": {**_TEXT, "description": "Why it is wanted."},
        "type": {"enum": list(actions.TYPES), "description": "What is done."},
        "target": {
            "enum": sorted({target for kind in ACTION_KINDS.values() for target in kind.targets}),
            "description": "What it is done to: docs/actions.md.",
        },
        "state": {
            "enum": list(actions.STATES),
            "description": "would: alerts state what it would hit; ask: people approve it; do: hosts do it.",
        },
        "wait": {**_DURATION, "description": "How long people may take to approve it."},
        "approvals": {"type": "integer", "minimum": 1, "maximum": MAX_APPROVALS, "description": "How many persons."},
        "lease": {**_DURATION, "description": "After this time, the action ends by itself."},
        "rules": {**_TEXT_OR_TEXTS, "description": "Names of rules whose alerts request it; * matches any text."},
        "tags": {**_TEXT_OR_TEXTS, "description": "Tags that these rules have, all of them."},
        "priority": {**_PRIORITY, "description": "Rules of a lower priority are not meant."},
        "never": {
            "type": "object",
            "properties": dict.fromkeys(actions.NEVER_KEYS, _TEXT_OR_TEXTS),
            "additionalProperties": False,
            "description": "What it is never done to; * matches any text.",
        },
        "budget": {
            "type": "object",
            "properties": {"per_hour": _COUNT, "hosts": {"type": "string", "pattern": "^[0-9]+%$"}, "replicas": _COUNT},
            "additionalProperties": False,
            "description": "How much it may do before nothing more is done.",
        },
    },
}
_CHANGES = {"list": ("items",), "macro": ("condition", "correlation"), "rule": tuple(OVERRIDABLE)}
_DEFINES = {"list": ["items"], "macro": ["condition"], "rule": ["condition", "output", "desc", "priority"]}


def rule_schema() -> dict[str, Any]:
    """Return the schema of rule files."""
    items = [_item(kind) for kind in _ITEMS]
    items += [_INDICATORS, _ACTION]
    items.append(_other("required_engine_version", _SCALAR, "The oldest engine that supports the file."))
    items.append(_other("required_plugin_versions", {"type": "array"}, "Plugins of Falco that the file needs."))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Rules of Lanner and Falco",
        "type": ["array", "null"],
        "items": {"type": "object", "anyOf": items},
    }


def _item(kind: str) -> dict[str, Any]:
    properties = {key: {**schema, "description": text} for key, (schema, text) in _ITEMS[kind].items()}
    changes = {key: {"enum": ["append", "replace"]} for key in _CHANGES[kind]}
    properties["append"] = {**_TRUTH, "description": "Deprecated: write `override` instead."}
    properties["override"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": changes,
        "description": "For each key of this item, whether it is appended to an earlier item's, or replaces it.",
    }
    complete = [{"required": [kind, *_DEFINES[kind]]}, {"required": [kind, "override"]}, {"required": [kind, "append"]}]
    if kind == "macro":
        complete.append({"required": [kind, "correlation"]})
    if kind == "rule":
        complete.append({"required": [kind, "enabled"]})
    return {
        "required": [kind],
        "additionalProperties": False,
        "properties": {key: properties[key] for key in (*KINDS[kind].keys, *EXTENSION_KEYS.get(kind, ()))},
        "anyOf": complete,
    }


def _other(key: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"required": [key], "properties": {key: {**schema, "description": text}}}
