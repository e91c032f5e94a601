"""Network addresses in settings."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether only this host can connect to a host name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
