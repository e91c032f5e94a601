"""Masking of settings for display: hides secrets given inline."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

HIDDEN = "***"
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
"""The user name and password of a URL, before its host."""


def masked(section: Any) -> Any:
    """Return settings without secrets: paths of URLs, header values, passwords.

    Args:
        section: the settings, or a part of them; a frozen dataclass.
    """
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
