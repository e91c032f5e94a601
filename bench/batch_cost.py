"""Measure what a batch costs by its number of events: processor time in each stage, and bytes on the broker.

    python -m bench.batch_cost [RULES…]

It takes the recordings of ordinary work that the tests use, divides their batches as a collector does, and prints, for
each size, the lowest of several rounds. The last lines are the costs of a batch and of each of its events, by least
squares; `lanner sizing` computes with them.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import cramjam

from bench.noise.count import batches_of, compiled_rules, recordings_in
from collector.publishing.send_window import halves
from processor.fleet.message_stage import MessageStage
from schemas.batch import EventBatch
from schemas.encoding.batch import encode_batch

RECORDINGS = Path(__file__).parents[1] / "tests/recordings/ordinary"
NEWER_KINDS = ("kubernetes", "timers")
"""Recorded after the figures in docs were measured; a node alone has almost as many events as all other kinds."""
SHIPPED = str(Path(__file__).parents[1] / "rules/lanner_rules.yaml")
Item = TypeVar("Item")
ROUNDS = 7
SAMPLE = 200
_ZSTD_LEVEL = 3
"""librdkafka's."""


def main(rules: Sequence[str]) -> None:
    """Print a line for each size, then both costs of each part."""
    stage = MessageStage(compiled_rules(rules or (SHIPPED,)), clock=time.monotonic)
    batches = [batch for batch in recorded_batches() if batch.count >= SAMPLE]
    counts: list[float] = []
    parts: dict[str, list[float]] = {"encoding": [], "evaluation": [], "stored": []}
    for level in _divided(batches[:SAMPLE]):
        encoded = [encode_batch(batch) for batch in level]
        counts.append(sum(batch.count for batch in level) / len(level))
        parts["encoding"].append(_lowest(encode_batch, level))
        parts["evaluation"].append(_lowest(lambda value: stage.take(0, value, time.time_ns() // 1_000_000), encoded))
        parts["stored"].append(sum(len(cramjam.zstd.compress(each, _ZSTD_LEVEL)) for each in encoded) / len(level))
        figures = (
            f"{counts[-1]:6.1f} events: encoding {parts['encoding'][-1]:5.0f} us, "
            f"evaluation {parts['evaluation'][-1]:5.0f} us, stored {parts['stored'][-1]:6.0f} bytes"
        )
        print(figures, flush=True)
    for name, values in parts.items():
        base, each = _line(counts, values)
        print(f"{name}: {base:.0f} for a batch and {each:.2f} for each event")


def recorded_batches() -> Iterator[EventBatch]:
    """Yield the batches of ordinary work that the figures in docs are measured with."""
    for path in recordings_in(RECORDINGS):
        if not path.name.startswith(NEWER_KINDS):
            yield from batches_of(path)


def _divided(batches: Sequence[EventBatch]) -> Iterator[Sequence[EventBatch]]:
    """Yield the batches, then their halves, down to single events: a sample of each."""
    while batches:
        yield batches
        halved = [half for batch in batches for half in halves(batch) or ()]
        batches = halved[:: max(1, len(halved) // SAMPLE)] if all(batch.count > 1 for batch in batches) else ()


def _lowest(function: Callable[[Item], object], items: Sequence[Item]) -> float:
    """Return microseconds for each item, the lowest of several rounds."""
    found = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for item in items:
            function(item)
        found.append(time.thread_time() - begun)
    return 1e6 * min(found) / len(items)


def _line(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Fit a line by least squares of the relative error, so that small batches count as much as large ones."""
    weights = [1 / y**2 for y in ys]
    total = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    y_mean = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    slope = sum(w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys, strict=True)) / sum(
        w * (x - x_mean) ** 2 for w, x in zip(weights, xs, strict=True)
    )
    return y_mean - slope * x_mean, slope


if __name__ == "__main__":
    main(sys.argv[1:])
