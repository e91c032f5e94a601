"""Counts the alerts of rule files on recordings."""

import lzma
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processor.detection.stage import CompiledRuleset, compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import load_rules, read_rule_files
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.catalog.priorities import SEVERITY, Priority
from schemas.encoding.recording import read_recording

_HOUR = 3600e9


@dataclass(slots=True)
class Noise:
    """What rules found in a number of recordings."""

    events: int = 0
    nanoseconds: int = 0
    """From the first to the last event, summed over the recordings."""
    alerts: list[tuple[str, Alert]] = field(default_factory=list)
    """Each with the name of its recording."""

    @property
    def hours(self) -> float:
        """The hours of work."""
        return self.nanoseconds / _HOUR

    @property
    def above_notice(self) -> list[Alert]:
        """The alerts of higher severity than Notice."""
        return [alert for _, alert in self.alerts if SEVERITY[alert.priority] < Priority.NOTICE.value]

    def table(self) -> Iterable[str]:
        """Yield a line for each rule and recording that has alerts, most first."""
        counts = Counter((alert.priority, alert.rule, name) for name, alert in self.alerts)
        for (priority, rule, name), count in counts.most_common():
            yield f"{count:>6}  {count / self.hours:>6.1f} an hour  {priority:<13} {rule} ({name})"


def compiled_rules(
    paths: Sequence[str] | Sequence[Path], *, disabled: bool = False, only: Collection[str] = ()
) -> CompiledRuleset:
    """Compile the rules of some files. Raises ValueError if one can't be loaded.

    disabled: whether to include those that are off. only: names of rules, off or not; empty for all.
    """
    loaded = load_rules(read_rule_files(paths))
    if loaded.errors:
        raise ValueError(str(loaded.errors[0]))
    rules = [rule for rule in loaded.rules if (rule.name in only if only else rule.enabled or disabled)]
    if missing := set(only) - {rule.name for rule in rules}:
        raise ValueError(f"there is no rule {min(missing)!r}")
    return compile_ruleset(rules, loaded.macros)


def recordings_in(folder: Path) -> list[Path]:
    """Return the recordings in a folder, in order."""
    return sorted([*folder.glob("*.avro"), *folder.glob("*.avro.xz")])


def batches_of(path: Path) -> Iterator[EventBatch]:
    """Yield the batches of a recording that may be compressed by xz. Raises OSError, BadBatch."""
    if path.suffix != ".xz":
        yield from read_recording(path)
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(lzma.decompress(path.read_bytes()))
        file.flush()
        yield from read_recording(Path(file.name))


def count_noise(recordings: Iterable[Path], rules: CompiledRuleset) -> Noise:
    """Evaluate rules on recordings, each as a host of its own. Raises OSError, BadBatch."""
    noise = Noise()
    for path in recordings:
        evaluator, kind = Evaluator(rules), path.name.partition(".")[0]
        times: list[int] = []
        for batch in batches_of(path):
            noise.events += batch.total
            noise.alerts += [(kind, alert) for alert in evaluator.replay(batch)]
            times += [min(batch.columns["time"]), max(batch.columns["time"])]
        noise.alerts += [(kind, alert) for alert in evaluator.correlator.finish()]
        noise.nanoseconds += max(times) - min(times)
    return noise
