"""Run the named benchmarks, or all of them: python -m bench [NAME...]."""

import importlib
import sys
from pathlib import Path

NAMES = (
    "answers",
    "audit_intake",
    "captures",
    "console",
    "correlation_groups",
    "day",
    "first_seen",
    "floods",
    "hot_path",
    "idle",
    "indicators",
    "latency",
    "memory",
    "notifier",
    "recording",
    "slowdown",
    "start",
    "starts",
    "story",
    "throughput",
    "waiting",
)


def main() -> None:
    """Run each benchmark in turn, under its own heading."""
    names = sys.argv[1:] or [name for name in NAMES if Path(__file__).with_name(f"{name}.py").exists()]
    for name in names:
        if name not in NAMES:
            sys.exit(f"no such measurement: {name}; there are: {', '.join(NAMES)}")
        print(f"## {name}", flush=True)
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
