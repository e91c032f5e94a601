"""Puts an interest into the kernel's maps, beside the one in force, and switches between them by one number."""

import struct
from collections.abc import Iterator, Mapping

from collector.kernel import bpf_syscall
from collector.syscalls import FILTERS
from schemas.interest import CLASSES, MASK_BITS, MAX_PREFIX, MAX_SUFFIX, Interest

MAX_TEXTS = 4096
"""Prefixes, or suffixes, of one version: half of what a map holds, for two versions are in it."""

_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_SETTING_INTEREST = 1
_KINDS = len(FILTERS) + 1
_MASK_BYTES = MASK_BITS // 8


class InterestMaps:
    """The kernel side's view of what matters."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """Take the loaded program's maps; everything is sent until an interest is set."""
        self._maps = maps
        self._generation = 0
        self._keys: dict[int, list[tuple[str, bytes]]] = {0: [], 1: []}

    def put(self, interest: Interest | None) -> None:
        """Switch to an interest; None, or one too large for the maps, means that everything is sent.

        No open is lost meanwhile: the version in force stays whole until the number changes.
        """
        if interest is None or max(len(interest.prefixes), len(interest.suffixes)) > MAX_TEXTS:
            self._switch(0)
            return
        generation = 1 - self._generation
        # A call that began under that version may still be at it, and must not see it half gone.
        bpf_syscall.wait_for_running_programs()
        for name, key in self._keys[generation]:
            bpf_syscall.delete(self._maps[name], key)
        self._keys[generation] = []
        for name, key, mask in entries(interest, generation):
            bpf_syscall.update(self._maps[name], key, mask.to_bytes(_MASK_BYTES, "little"))
            if len(key) > _U32.size:
                self._keys[generation].append((name, key))
        self._generation = generation
        self._switch(2 + generation)

    def _switch(self, version: int) -> None:
        bpf_syscall.update(self._maps["settings"], _U32.pack(_SETTING_INTEREST), _U64.pack(version))


def entries(interest: Interest, generation: int) -> Iterator[tuple[str, bytes, int]]:
    """Give every entry of an interest: the map's name, the key as lanner.bpf.c lays it out, the mask."""
    for event, kind in FILTERS.items():
        for number, mask in enumerate(interest.classes.get(event, (0,) * CLASSES)):
            yield "class_masks", _U32.pack((generation * _KINDS + kind) * CLASSES + number), mask
    yield "anywhere_masks", _U32.pack(generation), interest.anywhere
    for text, mask in interest.prefixes.items():
        yield "prefix_masks", _key(text, MAX_PREFIX, generation), mask
    for text, mask in interest.suffixes.items():
        yield "suffix_masks", _key(text[::-1], MAX_SUFFIX, generation), mask


def _key(text: bytes, size: int, generation: int) -> bytes:
    return struct.pack("<II", 32 + 8 * len(text), generation) + text.ljust(size, b"\0")
