"""What looking up containers costs: CPU time of the look-up threads while a runtime starts containers.

Starts containers of a pod over CRI at a steady rate with a collector beside, as on a busy node.
"""

import argparse
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.live.collector.watching import watching
from tests.live.containerd import Containerd
from tests.live.kubelet import Kubelet


def main() -> None:
    """Print the share of a core that look-ups take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts-per-minute", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=30)
    chosen = parser.parse_args()
    with Containerd() as runtime, Kubelet(runtime.socket).pod("bench", "default") as pod, watching("openat") as watch:
        threads = [thread.native_id for thread in threading.enumerate() if thread.name.startswith("container-lookup")]
        began, used = time.monotonic(), _cpu_seconds(threads)
        number = 0
        with ThreadPoolExecutor(4) as pool:
            while (now := time.monotonic() - began) < chosen.seconds:
                while number < now * chosen.starts_per_minute / 60:
                    pool.submit(pod.start, f"c-{number}", "/bin/true")
                    number += 1
                watch.settle()
            lasted = time.monotonic() - began
            spent = _cpu_seconds(threads) - used
            started = sum(watch.collector.containers.outcomes.values())
        outcomes = {name: count for name, count in watch.collector.containers.outcomes.items() if count}
        print(f"asked for {number} containers in {lasted:.0f} s, {started} looked up {outcomes}")
        print(f"look-ups: {spent / lasted:.2%} of a core, {spent / max(started, 1) * 1e3:.2f} ms each")


def _cpu_seconds(threads: list[int | None]) -> float:
    return sum(int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0]) for thread in threads) / 1e9


if __name__ == "__main__":
    main()
