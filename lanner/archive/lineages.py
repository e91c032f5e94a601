"""Which processes and containers are stored with an event, and the bytes that they take in its row."""

from collections.abc import Sequence
from operator import attrgetter

from lanner.archive.schema import CONTAINER_TEXTS, SERVER_LISTS
from schemas.batch import FILE_FACTS, Container, EventBatch, Process
from schemas.encoding.columns import TEXTS

MAX_ANCESTORS = 64
"""Ancestors of an event that are archived; hosts have fewer than 20. A hostile batch may have a line of all its
processes, which each of its events would repeat."""
MAX_RELATIVES = 32
_PROCESS_BYTES = 200
"""What the numbers of a process, or of a container, take."""
_PROCESS_TEXTS = attrgetter(*TEXTS)
_CONTAINER_TEXTS = attrgetter(*CONTAINER_TEXTS)
_FILE_TEXTS = attrgetter(*(name for name in FILE_FACTS if name != "written_at"), "path")


class Lineages:
    """The rows of each process that has events, those of its ancestors, relatives and of their containers."""

    def __init__(self) -> None:
        self.ancestors: list[list[int]] = []
        self.relatives: list[list[int]] = []
        self.containers: list[list[int]] = []
        self.sizes: list[int] = []
        """What they take in a row, bytes."""
        self._size_of: dict[int, int] = {}

    def add(self, batch: EventBatch, row: int, first_process: int, first_container: int) -> None:
        """Add those of one process. The first process and container are those of its batch among all batches."""
        processes = batch.processes
        line: dict[int, None] = {row: None}
        above = processes[row].parent
        while above >= 0 and len(line) <= MAX_ANCESTORS:
            line[above] = None
            above = processes[above].parent
        ancestors = list(line)[1:]
        found = dict(line)
        for known in list(found):
            _add_leaders(processes, known, found)
        relatives = list(found)[len(line) :]
        own = processes[row].container
        others = dict.fromkeys(processes[each].container for each in (*ancestors, *relatives))
        self.ancestors.append([first_process + each for each in ancestors])
        self.relatives.append([first_process + each for each in relatives])
        self.containers.append([first_container + each for each in others if each not in (-1, own)])
        size = sum(_container_size(batch.containers[each]) for each in {*others, own} if each >= 0)
        for each in (row, *ancestors, *relatives):
            if first_process + each not in self._size_of:
                self._size_of[first_process + each] = _process_size(processes[each])
            size += self._size_of[first_process + each]
        self.sizes.append(size)


def _process_size(process: Process) -> int:
    size = _PROCESS_BYTES + _texts_size(_PROCESS_TEXTS(process)) + sum(map(_texts_size, (process.args, process.env)))
    for file in (process.file, process.script):
        size += 0 if file is None else _texts_size(_FILE_TEXTS(file))
    if process.server is not None:
        size += sum(_texts_size(getattr(process.server, name)) for name in SERVER_LISTS)
    return size


def _container_size(container: Container) -> int:
    pairs = [text for labels in (container.labels, container.pod_labels) for pair in labels or () for text in pair]
    paths = [text for mount in container.mounts or () for text in (mount.source, mount.dest, mount.mode)]
    return _PROCESS_BYTES + _texts_size(_CONTAINER_TEXTS(container)) + _texts_size(pairs) + _texts_size(paths)


def _texts_size(texts: Sequence[str | None] | None) -> int:
    return 0 if not texts else 4 * len(texts) + sum(map(len, filter(None, texts)))


def _add_leaders(processes: Sequence[Process], row: int, found: dict[int, None]) -> None:
    """Add the leaders of a process, and what leads to them: their ancestors and leaders."""
    waiting = [row]
    while waiting:
        process = processes[waiting.pop()]
        for each in (process.session_leader, process.group_leader):
            leader = each
            while leader >= 0 and leader not in found and len(found) <= MAX_ANCESTORS + MAX_RELATIVES:
                found[leader] = None
                waiting.append(leader)
                leader = processes[leader].parent
