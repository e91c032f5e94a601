"""Memory and time of `lanner kubernetes` and of a processor's records: python -m bench.kubernetes [PODS].

An API server in another process serves objects as large as real ones; the records go to a list instead of Kafka.
"""

import asyncio
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

from collector.kubernetes.api import ApiServer, Watcher, credentials
from collector.kubernetes.index import ClusterIndex, Reconciler
from foundation.text import ignore_note
from processor.hosts.arrival import PodRecords
from tests.kubernetes_api import KubernetesApi, pod, thing

_PODS = 5000
_PODS_EACH = 20
_NAMESPACES = 50


def memory(name: str = "VmRSS") -> float:
    """Return this process's memory, MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def fill(api: KubernetesApi, pods: int) -> int:
    """Create a cluster; return the bytes of one pod."""
    for n in range(_NAMESPACES):
        api.put(thing("Namespace", f"team-{n}", f"ns-{n}", labels={"kubernetes.io/metadata.name": f"team-{n}"}))
    for n in range(pods // _PODS_EACH):
        namespace, labels = f"team-{n % _NAMESPACES}", {"app.kubernetes.io/name": f"service-{n}", "tier": "backend"}
        deployment = thing("Deployment", f"service-{n}", f"d-{n}", namespace, labels=labels)
        hashed = labels | {"pod-template-hash": f"{n:010x}"}
        replicas = thing("ReplicaSet", f"service-{n}-{n:x}", f"rs-{n}", namespace, labels=hashed, owner=deployment)
        service = thing("Service", f"service-{n}", f"svc-{n}", namespace, spec={"selector": labels})
        api.put(deployment, replicas, service)
        for m in range(_PODS_EACH):
            uid = f"{n:08x}-{m:04x}-4000-8000-{n * _PODS_EACH + m:012x}"
            api.put(pod(f"service-{n}-{n:x}-{m:05x}", uid, namespace, labels=hashed, owner=replicas, node=f"node-{m}"))
    return api.size_of_pod()


def serve(pods: int, folder: str, ready: Event, stop: Event) -> None:
    """Serve the cluster from another process."""
    with KubernetesApi() as api:
        print(f"{pods} pods of {fill(api, pods)} bytes of JSON each")
        api.kubeconfig(Path(folder))
        ready.set()
        stop.wait()


async def measure(kubeconfig: str, page_size: int) -> list[tuple[str, bytes]]:
    """Read the cluster; return all records."""
    before = memory()
    began = time.monotonic()
    cpu = time.process_time()
    index = ClusterIndex()
    api = ApiServer(credentials(kubeconfig))
    watcher = Watcher(api, index, page_size=page_size, on_note=ignore_note)
    running = asyncio.create_task(watcher.run())
    await watcher.listed.wait()
    listed = time.monotonic() - began
    reconciler = Reconciler(index, delay=300)
    reconciler.start()
    found: list[tuple[str, bytes]] = []
    while planned := reconciler.plan(time.monotonic(), 500):
        found += [(key, value) for key, value in planned if value is not None]
    cpu = time.process_time() - cpu
    print(
        f"page size {page_size}: lists {listed:.1f} s, with records {time.monotonic() - began:.1f} s, CPU {cpu:.1f} s; "
        f"RSS {before:.0f} MiB before, {memory():.0f} MiB after, {memory('VmHWM'):.0f} MiB at most"
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await api.close()
    return found


def isolated(function: Callable[..., None], *arguments: object) -> None:
    """Call a function in a fresh process, so that its memory is its own."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()


def service(kubeconfig: str, page_size: int, out: str) -> None:
    """Measure the service, and write the records to a file."""
    found = asyncio.run(measure(kubeconfig, page_size))
    Path(out).write_bytes(b"".join(key.encode() + b" " + value + b"\n" for key, value in found))


def processor(out: str) -> None:
    """Measure what a processor stores."""
    lines = Path(out).read_bytes().splitlines()
    records, before, began = PodRecords(), memory(), time.process_time()
    for line in lines:
        key, _, value = line.partition(b" ")
        records.put(key, value)
    seconds = time.process_time() - began
    size = sum(map(len, lines)) / max(len(lines), 1)
    grown = memory() - before
    print(f"processor: {len(records)} records of {size:.0f} bytes: {grown:.1f} MiB, CPU {seconds:.2f} s")


def main(pods: int) -> None:
    """Print the figures."""
    context = multiprocessing.get_context("spawn")
    folder = Path(f"/tmp/lanner-bench-{os.getpid()}")  # noqa: S108  removed below
    folder.mkdir()
    ready, stop = context.Event(), context.Event()
    server = context.Process(target=serve, args=(pods, str(folder), ready, stop))
    server.start()
    try:
        ready.wait()
        for page_size in (500, 5000):
            isolated(service, str(folder / "kubeconfig"), page_size, str(folder / "records"))
        isolated(processor, str(folder / "records"))
    finally:
        stop.set()
        server.join()
        for each in folder.iterdir():
            each.unlink()
        folder.rmdir()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else _PODS)
