"""The webhook sink: creates a body, signs it, posts it and interprets the answer.

Requests are signed by the scheme of Standard Webhooks, for which most languages have a library: HMAC-SHA256 over
`ID.TIMESTAMP.BODY`. The id is the alert's, so that a receiver can drop duplicates; the timestamp lets it refuse
replayed requests.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

from foundation.text import printable
from notifier.sink import RetryLater, RoutedAlert, SendOutcome, Sink, Undeliverable
from notifier.sinks.webhook.formats import BodyError, WebhookFormat
from notifier.sinks.webhook.posting import Poster

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_PREFIX = "whsec_"

DETAIL_LENGTH = 200
MIN_SECRET_LENGTH = 6


def key_of(secret: str) -> bytes:
    """Return the key of a secret: base64 after `whsec_`, else the secret itself. Raises ValueError."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ must be base64") from None


def message_id(ids: Sequence[str]) -> str:
    """Return the id of a request: the alert's own, or a hash of the ids of several.

    An id from the intake is untrusted; it must not inject a header.
    """
    if len(ids) == 1 and _ID.fullmatch(ids[0]):
        return ids[0]
    return blake2b("\n".join(ids).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def signature(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `webhook-signature`."""
    digest = hmac.new(key, f"{message}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class WebhookSink(Sink):
    """Posts to one URL in one format."""

    def __init__(
        self,
        poster: Poster,
        form: WebhookFormat,
        *,
        headers: Mapping[str, str],
        key: bytes | None = None,
        hidden: Sequence[str] = (),
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Create a sink.

        Args:
            poster: posts to the URL.
            form: format of bodies and answers.
            headers: of every request.
            key: to sign requests with; None to leave them unsigned.
            hidden: secrets to mask in answers that echo them.
            clock: wall clock, ns.
        """
        self.batch_size = form.batch_size
        self._poster = poster
        self._form = form
        self._headers = {**headers, "Content-Type": form.content_type, "Accept-Encoding": "identity"}
        self._key = key
        # Short values are not secret, and masking them would garble the answer.
        self._hidden = [each for each in hidden if len(each) >= MIN_SECRET_LENGTH]
        self._clock = clock

    def send(self, alerts: Sequence[RoutedAlert]) -> SendOutcome:
        """Post as many of the first alerts as fit into a request."""
        now = self._clock()
        try:
            body = self._form.body(alerts, now)
        except BodyError as error:
            return Undeliverable(str(error))
        name = message_id([each.alert.id for each in alerts[: body.count]])
        headers = {**self._headers, "webhook-id": name, "webhook-timestamp": str(now // 10**9)}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, name, now // 10**9, body.data)
        answer = self._poster.post(body.data, headers)
        if isinstance(answer, RetryLater):
            return answer
        return self._form.outcome(answer, body.count, self._detail(answer.body))

    def reopen(self) -> None:
        """Reconnect with the next request."""
        self._poster.close()

    def close(self) -> None:
        """Close the connection."""
        self._poster.close()

    def _detail(self, body: bytes) -> str:
        """Return an answer's text, which states why an alert was refused; empty for an HTML page."""
        text = body.decode("utf-8", "replace").strip()
        if text.startswith("<"):
            return ""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return printable(text[:DETAIL_LENGTH])
