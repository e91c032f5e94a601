"""A webhook as a sink: makes the body, signs it, posts it, and says what the answer means."""

import time
from collections.abc import Callable, Mapping, Sequence

from notifier.delivery.outcome import RetryLater, RoutedAlert, SendOutcome, Undeliverable
from notifier.webhook.form import BodyError, WebhookFormat
from notifier.webhook.posting import Poster
from notifier.webhook.signature import message_id, signature
from schemas.text.printable import printable

SAID_LENGTH = 200
SECRET_LENGTH = 6


class WebhookSink:
    """Posts to one address in one format."""

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
        """Begin.

        Args:
            poster: the address.
            form: the format.
            headers: of every request.
            key: signs requests, if there is one.
            hidden: secrets that an answer may echo and no message may show.
            clock: wall clock, ns.
        """
        self.most = form.most
        self._poster = poster
        self._form = form
        self._headers = {**headers, "Content-Type": form.content_type, "Accept-Encoding": "identity"}
        self._key = key
        # A short one is no secret, and to hide it would make what is said unreadable.
        self._hidden = [each for each in hidden if len(each) >= SECRET_LENGTH]
        self._clock = clock

    def offer(self, parcels: Sequence[RoutedAlert]) -> SendOutcome:
        """Post the first alerts."""
        now = self._clock()
        try:
            body = self._form.body(parcels, now)
        except BodyError as unfit:
            return Undeliverable(str(unfit))
        name = message_id([parcel.alert.id for parcel in parcels[: body.count]])
        headers = {**self._headers, "webhook-id": name, "webhook-timestamp": str(now // 10**9)}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, name, now // 10**9, body.data)
        answer = self._poster.post(body.data, headers)
        if isinstance(answer, RetryLater):
            return answer
        return self._form.meaning(answer, body.count, self._shown(answer.body))

    def tend(self) -> None:
        """Nothing to look after: a connection that was closed is seen before it is used."""

    def reopen(self) -> None:
        """Connect anew."""
        self._poster.reopen()

    def close(self) -> None:
        """Let go of the connection."""
        self._poster.close()

    def _shown(self, body: bytes) -> str:
        """Give what an answer says, if it is no page of HTML: it tells why an alert was refused."""
        text = body.decode("utf-8", "replace").strip()
        if text.startswith("<"):
            return ""
        for secret in self._hidden:
            text = text.replace(secret, "***")
        return printable(text[:SAID_LENGTH])
