"""Begins to load the eBPF program. A module of its own, so that a start imports little before it and the rest after it.

The kernel takes 0.4 s to verify it, without Python's lock.
"""

from collector.bpf.program import RingSizes
from collector.kernel_feed import ProgramLoading
from collector.settings import CACHE
from lanner.settings import Settings


def ring_sizes(settings: Settings) -> RingSizes:
    """Return the sizes of the rings."""
    section = settings.collector
    return RingSizes(events=section.ring_mib << 20, lifecycle=section.lifecycle_ring_mib << 20)


def load_program(settings: Settings) -> ProgramLoading:
    """Begin to load the eBPF program on a thread; its errors are raised by the start of the collector."""
    return ProgramLoading(CACHE, ring_sizes(settings))
