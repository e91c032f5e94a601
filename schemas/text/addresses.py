"""Internet addresses as text."""

import socket

from schemas.caching.short_texts import cache_short_texts


@cache_short_texts(65536)
def canonical_address(text: str) -> str | None:
    """Return an address in the kernel's notation; None if the text is not an address."""
    family = socket.AF_INET if "." in text and ":" not in text else socket.AF_INET6
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None
