"""Reads the body of a request within limits, decompressed as it arrives: a few kilobytes can become gigabytes."""

import zlib
from collections import Counter
from collections.abc import AsyncIterator

from foundation.errors import LannerError

MAX_BODY_BYTES = 16 << 20
MAX_HELD_BYTES = 64 << 20
"""Limit of all bodies together that are being read or stored."""
_GZIP = 31
"""The window bits of zlib that require gzip's format."""


class BodyTooLarge(LannerError):
    """The body is larger than the limit, before or after decompression."""


class BadBody(LannerError, ValueError):
    """The body is not in the encoding that its header names."""


class NoRoom(LannerError):
    """Other bodies take all the memory that there is for bodies."""


def unpacked(data: bytes, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return a message decompressed, if it is one gzip stream within the limit, else as it is."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    inflate = zlib.decompressobj(_GZIP)
    try:
        found = inflate.decompress(data, limit + 1)
    except zlib.error:
        return data
    return found if inflate.eof and len(found) <= limit else data


class BodyMemory:
    """The bytes of all bodies in memory. A client that sends slowly makes room for one with fewer bytes."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        """Start with none. limit: the largest number of bytes."""
        self.held = 0
        self._limit = limit
        self._arriving: dict[RequestBody, None] = {}
        """Oldest first."""

    def begin(self, body: "RequestBody") -> None:
        """Note that a body begins to arrive."""
        self._arriving[body] = None

    def end(self, body: "RequestBody") -> None:
        """Note that a body has arrived, or never will."""
        self._arriving.pop(body, None)

    def take(self, body: "RequestBody", size: int) -> None:
        """Reserve more bytes for a body. Raises NoRoom."""
        while self.held + size > self._limit:
            holders = Counter[str]()
            for each in self._arriving:
                holders[each.client] += each.size
            largest, held = holders.most_common(1)[0]
            if held <= holders[body.client] + size:
                raise NoRoom
            next(each for each in self._arriving if each.client == largest and each.size).drop()
        self.held += size

    def release(self, size: int) -> None:
        """Release bytes."""
        self.held -= size


class RequestBody:
    """One body; its memory is reserved until it is released."""

    def __init__(self, memory: BodyMemory, limit: int = MAX_BODY_BYTES, client: str = "") -> None:
        """Start empty.

        Args:
            memory: where its bytes count.
            limit: the most bytes, compressed and decompressed.
            client: who sends it.
        """
        self.client = client
        self.size = 0
        self._memory = memory
        self._limit = limit
        self._parts: list[bytes] = []
        self._is_dropped = False

    async def read(self, chunks: AsyncIterator[bytes], encoding: str) -> bytes:
        """Return the whole body, decompressed.

        Args:
            chunks: the body as it arrives.
            encoding: ``gzip``, ``identity`` or empty.

        Raises:
            BodyTooLarge: it is too large.
            BadBody: the encoding is unknown, or the body is not in it.
            NoRoom: other bodies use the memory, or it was needed for another client's.
        """
        if encoding not in ("", "identity", "gzip"):
            raise BadBody("the Content-Encoding must be gzip or identity")
        inflate = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        received = 0
        self._memory.begin(self)
        try:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._limit:
                    raise BodyTooLarge
                self._add(chunk if inflate is None else self._inflated(inflate, chunk))
        finally:
            self._memory.end(self)
        if inflate is not None and (not inflate.eof or inflate.unused_data):
            raise BadBody("the body is not one gzip stream")
        return b"".join(self._parts)

    def release(self) -> None:
        """Release the memory."""
        self._memory.release(self.size)
        self.size = 0
        self._parts.clear()

    def drop(self) -> None:
        """Release the memory before the body has arrived; reading it fails."""
        self._is_dropped = True
        self.release()

    def _inflated(self, inflate: "zlib._Decompress", chunk: bytes) -> bytes:
        try:
            return inflate.decompress(chunk, self._limit - self.size + 1)
        except zlib.error as error:
            raise BadBody(f"the body is not gzip: {error}") from None

    def _add(self, part: bytes) -> None:
        if self._is_dropped:
            raise NoRoom
        if self.size + len(part) > self._limit:
            raise BodyTooLarge
        self._memory.take(self, len(part))
        self.size += len(part)
        self._parts.append(part)
