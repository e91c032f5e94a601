"""Network addresses in settings."""

import ipaddress
from urllib.parse import urlsplit

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
    """Return whether a URL holds a user name or a password."""
    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    """Return whether a text is a port to listen on; 0 stands for any free one."""
    return text.isascii() and text.isdigit() and int(text[:6]) <= PORTS[-1]
