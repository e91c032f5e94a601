"""Measure how long an action takes, until the target is frozen or has ended.

    python -m bench.actions [--number N] [--through run|fleet]

As root. It starts `lanner actions serve` with a folder of its own, freezes and thaws a control group that is named like
a container's, with two processes, and kills processes with one child each: from passing on an intent. With `--through`,
from the exec of a program that a rule matches: through `lanner run`, or through a collector, a broker and a processor.
"""

import argparse
import os
import secrets
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bench.fleet import stage
from bench.running import running_broker, topics_on
from collector.actions.executor import AT_ONCE
from tests.live.collector.actions.test_executor import Service, freeze, frozen_soon, is_frozen, kill, undo

MOST = AT_ONCE // 2
"""Actions of each type: a host does so many at once."""
_RULES = """
- rule: Marked program
  desc: An action of the benchmark.
  condition: evt.type = execve and proc.name = lanner-mark
  output: started %proc.name
  priority: NOTICE
- action: Benchmark
  type: {type}
  target: {target}
  state: do
  rules: [Marked program]
  budget: {{per_hour: 1000, hosts: 100%, replicas: 1000}}
"""


def main() -> None:
    """Measure, and print a row for each type of action."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--number", type=int, default=MOST, help=f"actions of each type, at most {MOST}")
    arguments.add_argument("--through", choices=("run", "fleet"), help="from a match on, by what detects it")
    parsed = arguments.parse_args()
    number = min(parsed.number, MOST)
    if parsed.through:
        with tempfile.TemporaryDirectory(prefix="act") as folder:
            _through(parsed.through, Path(folder), number)
        return
    with tempfile.TemporaryDirectory(prefix="act") as folder, closing(Service(Path(folder))) as service:
        print("ACTION  P50 MS  P99 MS  LONGEST MS")
        _print("freeze", _freezes(service, number))
        _print("kill", _kills(service, number))


def _through(what: str, folder: Path, number: int) -> None:
    rules, program = folder / "rules.yaml", folder / "lanner-mark"
    shutil.copy("/usr/bin/sleep", program)
    options = [
        f"collector.actions.socket={folder}/s",
        f"collector.actions.state_dir={folder}/state",
        "collector.actions.enabled=[kill, freeze]",
        f"actions.state_dir={folder}/records",
    ]
    with ExitStack() as stack:
        if what == "fleet":
            key = Ed25519PrivateKey.generate()
            (folder / "key.pem").touch(0o600)
            (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (folder / "key.pub").write_bytes(public)
            options += [
                f"actions.key_file={folder}/key.pem",
                f"collector.actions.processor_key_files=[{folder}/key.pub]",
            ]
            broker = stack.enter_context(running_broker(folder / "kafka"))
        print("ACTION  P50 MS  P99 MS  LONGEST MS")
        for action, target in (("freeze", "container"), ("kill", "process")):
            rules.write_text(_RULES.format(type=action, target=target), encoding="ascii")
            with ExitStack() as stages:
                stages.enter_context(_started("actions serve", options, folder))
                if what == "run":
                    stages.enter_context(_started("run --keep 0 --quiet", [*options, f"rules_files=[{rules}]"], folder))
                    time.sleep(5)
                else:
                    connection = topics_on(broker, 2, f"{action}.")
                    for name in ("processor", "collector"):
                        stages.enter_context(stage(connection, folder, name, str(rules), options=options))
                    time.sleep(3)
                _print(action, [_until_hit(program, action) for _ in range(number)])


def _until_hit(program: Path, action: str) -> float:
    """Return the seconds from the exec of a program until it is frozen or has ended."""
    with ExitStack() as stack:
        folders: list[Path] = []
        if action == "freeze":
            one, folder = stack.enter_context(frozen_soon(secrets.token_hex(32)))
            folders = list(dict.fromkeys((one.cgroup, folder)))

        def enter() -> None:
            for each in folders:
                (each / "cgroup.procs").write_text(str(os.getpid()))

        if folders:
            # A container's first event waits for what its runtime knows of it.
            subprocess.run(["/usr/bin/true"], preexec_fn=enter, check=True)
            time.sleep(0.5)
        begun = time.perf_counter()
        with subprocess.Popen([program, "5"], preexec_fn=enter) as process:  # noqa: PLW1509  nothing else runs here
            while process.poll() is None and not (folders and is_frozen(folders[-1])):
                time.sleep(0.0005)
            taken = time.perf_counter() - begun
            if folders:
                process.kill()
                with suppress(OSError):
                    (folders[-1] / "freezer.state").write_text("THAWED")
                with suppress(OSError):
                    (folders[-1] / "cgroup.freeze").write_text("0")
        return taken


@contextmanager
def _started(words: str, options: Sequence[str], folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "lanner", *words.split(), *(part for each in options for part in ("-o", each))]
    with (folder / "messages").open("ab") as messages:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=messages)
    try:
        time.sleep(2)
        yield
    finally:
        process.terminate()
        process.wait()


def _freezes(service: Service, number: int) -> list[float]:
    taken = []
    with frozen_soon() as (one, folder):
        for _ in range(number):
            intent, begun = freeze(one), time.perf_counter()
            service.send(intent)
            while not is_frozen(folder):
                pass
            taken.append(time.perf_counter() - begun)
            service.awaited(intent.id)
            service.result(undo(intent), "undone")
    return taken


def _kills(service: Service, number: int) -> list[float]:
    taken = []
    for _ in range(number):
        with subprocess.Popen(("sh", "-c", "sleep 60 & wait"), start_new_session=True) as process:
            time.sleep(0.05)
            intent, ended = kill(process.pid), os.pidfd_open(process.pid)
            begun = time.perf_counter()
            service.send(intent)
            select.select([ended], [], [])
            taken.append(time.perf_counter() - begun)
            os.close(ended)
            service.awaited(intent.id)
    return taken


def _print(name: str, taken: Sequence[float]) -> None:
    p50, p99 = statistics.median(taken), statistics.quantiles(taken, n=100, method="inclusive")[98]
    print(f"{name:<6}  {p50 * 1e3:6.1f}  {p99 * 1e3:6.1f}  {max(taken) * 1e3:10.1f}")


if __name__ == "__main__":
    main()
