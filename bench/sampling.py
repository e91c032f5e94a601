"""Measure the cost of sampling rule times: the same batches evaluated without and with it, alternating.

    python -m bench.sampling RULES.yaml...

It prints the ratio of each pair of runs, and the median.
"""

import statistics
import sys
import time
from collections.abc import Callable

from bench.rules import ordinary_batch
from processor.detection.detector import Detector
from processor.detection.rule_timing import RuleTiming
from processor.detection.view import BatchView
from processor.loading import load_rules, read_rule_files
from schemas.batch import EventBatch

PAIRS = 25
SECONDS = 0.7


def batches_a_second(detector: Detector, see: Callable[[EventBatch], None]) -> float:
    """Evaluate batches for a while; return the rate per CPU second, because other work may share the machine."""
    batch, count = ordinary_batch(1), 0
    began = time.thread_time()
    while (taken := time.thread_time() - began) < SECONDS:
        for _ in range(50):
            detector.process(BatchView(batch))
            see(batch)
        count += 50
    return count / taken


def main(paths: list[str]) -> None:
    """Print the ratios."""
    detector = Detector([rule for rule in load_rules(read_rule_files(paths)).rules if rule.enabled])
    timing = RuleTiming(lambda: detector)
    ratios = []
    for _ in range(PAIRS):
        without = batches_a_second(detector, lambda _: None)
        ratios.append(batches_a_second(detector, timing.see) / without)
    print(len(detector.conditions), "rules:", *(f"{ratio:.3f}" for ratio in sorted(ratios)))
    print(f"with sampling / without, events a CPU second, median of {PAIRS}: {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
