"""Processes that conditions can't tell apart: what was found of one needn't be evaluated for the next.

A shell's loop, a probe of health, a job of cron or a build starts the same program in the same way again and again.
Such processes differ in their numbers and times only, and so do their ancestors. Conditions that don't read these
are evaluated for the first of them.
"""

import marshal
from collections.abc import Callable, Hashable
from dataclasses import fields
from hashlib import blake2b
from itertools import count
from operator import attrgetter

from processor.fields.extract import IDENTITY
from processor.fields.process import is_leader
from schemas.batch import Container, EventBatch, Process, ProgramFile
from schemas.encoding.columns import FILES, SERVER

KindOf = Callable[[int], int]
"""Returns the kind of a process by its row."""

MAX_KINDS = 1024
"""The most kinds that are known at a time: a host starts few programs again and again."""
_ROWS = ("container", "parent", "session_leader", "group_leader")
_facts = attrgetter(*(each.name for each in fields(Process) if each.name not in {*IDENTITY, *_ROWS, *FILES, SERVER}))
_file_facts = attrgetter(*(each.name for each in fields(ProgramFile)))


class Kinds:
    """Numbers of the kinds of processes of all batches; a number is never used for another kind."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        """By a digest, because a host chooses how long its texts are."""
        self._next = count(1).__next__
        self._last: tuple[list[Process], list[Container], KindOf] | None = None

    def of(self, batch: EventBatch) -> KindOf:
        """Return a function from a process's row in a batch to its kind."""
        last, rows, containers = self._last, batch.processes, batch.containers
        if last is None or last[0] is not rows or last[1] is not containers:
            last = self._last = rows, containers, self._bind(rows, containers)
        return last[2]

    def _bind(self, rows: list[Process], containers: list[Container]) -> KindOf:
        kinds: list[int | None] = [None] * len(rows)

        of_container: dict[int, bytes] = {-1: b""}
        # The texts of most processes of a batch are the same objects, which are compared faster than encoded.
        seen: dict[Hashable, int] = {}

        def number(process: Process) -> int:
            above = kinds[process.parent] if process.parent >= 0 else None
            at = process.container
            if at not in of_container:
                of_container[at] = repr(containers[at]).encode("utf-8", "surrogatepass")
            pid, vpid = process.pid, process.vpid
            leads = is_leader(pid, process.sid), is_leader(pid, process.pgid), is_leader(vpid, process.vpgid)
            file = None if process.file is None else _file_facts(process.file)
            script = None if process.script is None else _file_facts(process.script)
            facts = above, *leads, of_container[at], _facts(process), file, script
            found = seen.get(facts)
            if found is None:
                # Equal values have equal bytes in this version only.
                digest = blake2b(marshal.dumps(facts, 0), digest_size=16).digest()
                found = seen[facts] = self._number(digest)
            return found

        def kind_of(row: int) -> int:
            known = kinds[row]
            if known is not None:
                # Each class of rules asks once.
                return known
            line = [row]
            while (above := rows[line[-1]].parent) >= 0 and kinds[above] is None:
                line.append(above)
            for each in reversed(line):
                found = kinds[each] = number(rows[each])
            return found

        return kind_of

    def _number(self, digest: bytes) -> int:
        found = self._numbers.get(digest)
        if found is None:
            if len(self._numbers) >= MAX_KINDS:
                self._numbers.clear()
            found = self._numbers[digest] = self._next()
        return found


KINDS = Kinds()
"""Those of this process: nothing that rules choose is in them."""
