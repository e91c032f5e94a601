"""Reasons for failed connections and HTTP answers, free of secrets.

URLs can be secrets (a Slack webhook's URL is its only key), and libraries quote them in their messages. So reasons are
derived from the kind of failure, never from a library's message.
"""

import http.client
import socket
import ssl
from email.utils import parsedate_to_datetime
from urllib.error import URLError

from notifier.sink import RetryLater, SendOutcome, Undeliverable

_REFUSALS = frozenset({400, 406, 411, 413, 414, 415, 422, 431})
"""Statuses that concern the message itself; all others concern us, the URL or the server's state."""


def failure_reason(error: BaseException) -> str:
    """Return why a connection failed, in words."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'handshake failed'})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"its name can't be resolved ({error.strerror})"
    if isinstance(error, http.client.HTTPException):
        return "it closed the connection, or doesn't speak HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no connection"


def status_outcome(status: int, retry_after: str | None, now: float, detail: str = "") -> SendOutcome | None:
    """Return what an HTTP answer means for an alert; None if it was accepted.

    Args:
        status: HTTP status.
        retry_after: the header, in seconds or as a date (RFC 9110, section 10.2.3).
        now: wall clock, seconds.
        detail: part of the answer to add to the reason.
    """
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status} {http.client.responses.get(status, '')}".strip() + (f", {detail}" if detail else "")
    if status in _REFUSALS:
        return Undeliverable(reason)
    return RetryLater(reason, retry_seconds(retry_after, now))


def retry_seconds(retry_after: str | None, now: float) -> float | None:
    """Parse a Retry-After header; None if it is missing or malformed."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
