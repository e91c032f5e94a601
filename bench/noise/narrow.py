"""Writes recordings again with less in them: the events that the kernel would have sent for some rules, and examples.

An example is one of the first events of its kind that no rule needs: rules that are written later are evaluated on it.
They are compressed as a whole, because what one batch says of processes is almost what the one before says.
"""

import lzma
import re
import tempfile
from collections import Counter
from collections.abc import Hashable
from pathlib import Path

from bench.noise.recorder import Recording
from processor.detection.stage import CompiledRuleset
from processor.pushdown.cost import passing
from processor.pushdown.derive import derive
from schemas.batch import EventBatch, subset
from schemas.encoding.recording import read_recording

_VARYING = re.compile(r"[0-9a-f]{8,}|(?<=[-.])(?=\w*[A-Z0-9])\w{4,10}(?=/|$)|\d+")
"""What differs between the names that one program gives to similar files."""
_SYSTEM_FOLDER = re.compile(r".*/(usr|lib|proc|sys)/")
_OF_ACT, _OF_NAME, _OF_FOLDER = 2, 6, 20
"""How many examples there are of one act, and of acts on files of one name, or in one folder of the system."""


def narrow(source: Path, target: Path, rules: CompiledRuleset) -> None:
    """Write one recording for some rules, with examples of what they don't need.

    Args:
        source: a recording for these rules and for wide.yaml.
        target: the new file, compressed by xz.
        rules: everything that any of them needs stays.
    """
    needs = derive(rules.conditions, rules.event_types)
    examples: Counter[Hashable] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder, source.name), level=0)
        for batch in read_recording(source):
            needed = set(passing(batch, needs))
            events = [index for index in range(batch.count) if index in needed or _is_example(batch, index, examples)]
            if events:
                recording.write(subset(batch, events))
        recording.close()
        target.write_bytes(lzma.compress(recording.path.read_bytes(), preset=9))


def _is_example(batch: EventBatch, index: int, examples: Counter[Hashable]) -> bool:
    columns = batch.columns
    process = batch.processes[columns["process"][index]]
    parent = batch.processes[process.parent].exepath if process.parent >= 0 else None
    names = (batch.strings[columns[column][index]] for column in ("path_target", "path_name", "fd_name"))
    path = _VARYING.sub("#", next(filter(None, names), ""))
    folder, _, name = path.rpartition("/")
    event = (batch.strings[columns["type"][index]], process.exepath)
    limits: dict[Hashable, int] = {(*event, parent, path, columns["bits"][index], process.uid): _OF_ACT}
    if name:
        limits[*event, name, columns["bits"][index]] = _OF_NAME
    if _SYSTEM_FOLDER.match(folder + "/"):
        limits[*event, folder] = _OF_FOLDER
    if any(examples[kind] >= limit for kind, limit in limits.items()):
        return False
    examples.update(limits.keys())
    return True
