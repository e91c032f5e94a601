"""What went wrong with a far end, in words that hold no secret.

Addresses are secrets (a Slack webhook's is its only key), and libraries put them into their messages: so messages are
made here, of what the failure is, and never of what a library says.
"""

import http.client
import socket
import ssl
from email.utils import parsedate_to_datetime
from urllib.error import URLError

from notifier.delivery.outcome import RetryLater, SendOutcome, Undeliverable

_REFUSALS = frozenset({400, 406, 411, 413, 414, 415, 422, 431})
"""Answers that are about the message itself; all others are about us, the address, or the far end's state."""


def in_words(error: BaseException) -> str:
    """Say what a failed connection came to."""
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        error = error.reason
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it ({error.reason or 'handshake failed'})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return f"its name can't be resolved ({error.strerror})"
    if isinstance(error, http.client.HTTPException):
        return "it closed the connection, or speaks no HTTP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no connection"


def judged(status: int, retry_after: str | None, now: float, what: str = "") -> SendOutcome | None:
    """Give what an HTTP answer means for an alert; None if it was taken.

    Args:
        status: HTTP's.
        retry_after: the header, in seconds or as a date (RFC 9110, section 10.2.3).
        now: wall clock, seconds.
        what: a word of the answer's that says more.
    """
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status} {http.client.responses.get(status, '')}".strip() + (f", {what}" if what else "")
    if status in _REFUSALS:
        return Undeliverable(reason)
    return RetryLater(reason, retry_seconds(retry_after, now))


def retry_seconds(retry_after: str | None, now: float) -> float | None:
    """Read a Retry-After header; None where it says nothing that can be understood."""
    if not retry_after:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
