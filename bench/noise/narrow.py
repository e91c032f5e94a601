"""Writes recordings again with less in them: the events that the kernel would have sent for some rules alone.

They are compressed as a whole, because what one batch says of processes is almost what the one before says.
"""

import lzma
import tempfile
from pathlib import Path

from bench.noise.recorder import Recording
from processor.detection.ruleset import CompiledRuleset
from processor.pushdown.cost import passing
from processor.pushdown.derive import derive
from schemas.encoding.recording import read_recording
from schemas.subset import subset


def narrow(source: Path, target: Path, rules: CompiledRuleset) -> None:
    """Write one recording for some rules.

    Args:
        source: a recording for these rules and others.
        target: the new file, compressed by xz.
        rules: everything that any of them needs stays.
    """
    needs = derive(rules.conditions, rules.event_types)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder, source.name), level=0)
        for batch in read_recording(source):
            if events := passing(batch, needs):
                recording.write(subset(batch, events))
        recording.close()
        target.write_bytes(lzma.compress(recording.path.read_bytes(), preset=9))
