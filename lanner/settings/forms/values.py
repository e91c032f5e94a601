"""Forms of settings: each function returns what a value must be, or an empty text if it is that."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from lanner.settings.forms.addresses import OFF, PORTS, has_password, host_and_port, is_http_url, listen_address

Form = Callable[[Any], str]
"""Returns what a value must be, as in `must be a path`; empty if it is that."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")
ALERT_PLACEHOLDERS = (
    *("id", "rule", "priority", "host", "user", "container", "time", "since", "until", "since_s", "until_s"),
)
"""What stands for a value of an alert in a URL."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_SERVER = re.compile(r"\s*(?:\w+://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?!0+\b)\d{1,5})?\s*", re.ASCII)
_LINE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_LARGEST_RING = 1024


def positive(value: int) -> str:
    """Require a number that is not 0."""
    return "" if value else "a positive integer"


def number(value: int) -> str:
    """Accept 0 too."""
    del value
    return ""


def port(value: int) -> str:
    """Require a port."""
    return "" if value in PORTS else f"a port from {PORTS[0]} to {PORTS[-1]}"


def listen(value: str) -> str:
    """Require an address to listen on, or off."""
    if value == OFF or listen_address(value):
        return ""
    return "a port, an address and a port such as 0.0.0.0:8775, or off"


def intake_address(value: str) -> str:
    """Require host and port."""
    return "" if host_and_port(value) else "host:port, such as 127.0.0.1:2801"


def audit_address(value: str) -> str:
    """Require host and port."""
    return "" if host_and_port(value) else "host:port, such as 0.0.0.0:8765"


def servers(value: str) -> str:
    """Require hosts, each with a port or without, separated by commas."""
    return "" if all(map(_SERVER.fullmatch, value.split(","))) else "addresses of brokers, such as kafka-1:9092"


def url(value: str) -> str:
    """Require a URL."""
    return "" if is_http_url(value) else "an http:// or https:// URL"


def url_template(value: str) -> str:
    """Require a URL with placeholders that are known, none of them in its host."""
    start = "/".join(value.split("/", 3)[:3])
    if not is_http_url(value) or "{" in start or has_password(value):
        return "an http:// or https:// URL without placeholders before its path"
    unknown = sorted(set(PLACEHOLDER.findall(value)) - set(ALERT_PLACEHOLDERS))
    return f"a URL with the placeholders {', '.join(ALERT_PLACEHOLDERS)}, not {unknown[0]}" if unknown else ""


def path(value: str) -> str:
    """Require a path."""
    return "" if value.strip() and "\0" not in value else "a path"


def time(value: str) -> str:
    """Require a date and time with a zone."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return "a date and time, such as 2027-01-31T00:00:00Z"
    return "" if found.tzinfo else "a date and time with a zone: end it with Z or +01:00"


def ring(value: int) -> str:
    """Require a size that the kernel accepts for a ring buffer."""
    is_right = 0 < value <= _LARGEST_RING and value & (value - 1) == 0
    return "" if is_right else f"a power of two, at most {_LARGEST_RING}"


def header_name(value: str) -> str:
    """Require the name of an HTTP header."""
    return "" if _HEADER.fullmatch(value) else "the name of an HTTP header"


def ascii_line(value: str) -> str:
    """Require a text that fits into an HTTP header."""
    return "" if _LINE.fullmatch(value) else "one line of ASCII"
