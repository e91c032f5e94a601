"""Forms of settings: each function returns what a value must be, or an empty text if it is that."""

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from foundation.quantities import parse_duration

PORTS = range(1, 65536)
OFF = "off"


def is_loopback(host: str) -> bool:
    """Return whether only this host can connect to a host name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def host_and_port(text: str) -> tuple[str, int] | None:
    """Parse `HOST:PORT`, where HOST may be empty or an IPv6 address in brackets; None if it is something else."""
    host, colon, port = text.rpartition(":")
    if not colon or not _is_port(port) or any(letter.isspace() for letter in host):
        return None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    return host.strip("[]"), int(port)


def listen_address(text: str) -> tuple[str, int] | None:
    """Parse `[ADDRESS:]PORT`, by default of the loopback address; None if it is something else."""
    if _is_port(text):
        return "127.0.0.1", int(text)
    found = host_and_port(text)
    return found if found and found[0] else None


def is_http_url(text: str) -> bool:
    """Return whether a text is a complete URL with http or https."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def has_password(url: str) -> bool:
    """Return whether a URL contains a user name or a password."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    """Return whether a text is a port to listen on; 0 stands for any free one."""
    return text.isascii() and text.isdigit() and int(text[:6]) <= PORTS[-1]


Form = Callable[[Any], str]
"""Returns what a value must be, as in `must be a path`; empty if it is that."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")
ALERT_PLACEHOLDERS = (
    *("id", "rule", "priority", "host", "user", "container", "time", "since", "until", "since_s", "until_s"),
)
"""The placeholders of an alert's values in a URL."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_SERVER = re.compile(r"\s*(?:\w+://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?!0+\b)\d{1,5})?\s*", re.ASCII)
_APPROVER = re.compile(r"[A-Z0-9]{2,40}=[^\s=@][^\r\n=@]{0,99}", re.ASCII)
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


def servers(value: str) -> str:
    """Require hosts, each with a port or without, separated by commas."""
    return "" if all(map(_SERVER.fullmatch, value.split(","))) else "addresses of brokers, such as kafka-1:9092"


def approver(value: str) -> str:
    """Require a Slack user's id and a name."""
    return "" if _APPROVER.fullmatch(value) else "ID=NAME, such as U0123ABCD=ann"


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


def duration(value: str) -> str:
    """Require a duration of at least a second."""
    return "" if parse_duration(value, ("s", "m", "h", "d")) else "a duration, such as 12h or 30d"


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


Hides = Literal["", "address", "value"]
"""The part that is hidden when a setting is shown: none, that of a URL after the host, or the whole value."""


def about(text: str, default: Any, *, hides: Hides = "", form: Form | None = None) -> Any:
    """Declare a setting with its comment; callable defaults are called for each object.

    hides: what is hidden when the setting is shown. form: what a value must be beyond its type.
    """
    metadata = {"about": text, "hides": hides, "form": form}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


_OF_THE_KERNEL = frozenset(
    {"bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "proc", "pstore", "securityfs", "sysfs", "tracefs"}
)


def file_system(path: Path) -> str:
    """Return the type of the file system of a path that exists; empty if it isn't known."""
    device = path.stat().st_dev
    mounted = f" {os.major(device)}:{os.minor(device)} "
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # Source: proc_pid_mountinfo(5): the type follows the separator.
    return next((line.partition(" - ")[2].split(" ")[0] for line in lines if mounted in line), "")


def why_no_file(path: Path) -> str:
    """Return why this user can't write a file at a path; empty if nothing is known to prevent it."""
    if path.is_dir():
        return "is a folder"
    if path.exists():
        return "" if os.access(path, os.W_OK) else "this user can't write to it"
    return why_no_folder(path.parent)


def why_no_folder(path: Path) -> str:
    """Return why this user can't use or create a folder; empty if nothing is known to prevent it."""
    nearest = next((each for each in (path, *path.parents) if each.exists()), path)
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    if (kind := file_system(nearest)) in _OF_THE_KERNEL:
        return f"{nearest} is of the kernel ({kind}), where no file can be made"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"this user can't create files in {nearest}"
