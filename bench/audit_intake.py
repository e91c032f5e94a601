"""Measure Kubernetes audit events per second: splitting, evaluation, webhook with TLS and a broker, processor.

    python -m bench.audit_intake [RULES.yaml...]       with other rules, such as Falco's k8s_audit_rules.yaml

The events resemble those of a small cluster: mostly reads and leases of the control plane, some with objects of several
kilobytes; one in twenty is of a person.
"""

import http.client
import json
import os
import random
import re
import ssl
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.running import cpu_seconds, rss_mib, running_broker, started, topics_on
from bus.connection import Connection
from foundation.quantities import iso8601_zulu
from lanner.intake.documents import split
from processor.detection.stage import DetectStage, compile_ruleset
from processor.fleet.json_stage import JsonStage
from processor.loading import RuleFile, load_rules, read_rule_files
from tests.live.notifier.certificates import Certificates, make_certificates
from tests.unit.processor.detection.requests import exec_request, pod_request, request

EVENTS = 20_000
PER_REQUEST = 100
"""A webhook backend sends up to 400 events at once, by default."""
CLIENTS = 4
SECONDS = 10.0
RULES = """
- list: known_users
  items: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, kubelet]
- macro: response
  condition: (jevt.value[/stage] in (ResponseComplete))
- macro: started
  condition: (jevt.value[/stage] in (ResponseStarted))
- macro: modified
  condition: (ka.verb in (create, update, patch))
- macro: allowed
  condition: (ka.response.code startswith 2)
- macro: changed
  condition: (response and modified)
"""
_RULE = """
- rule: Rule {number}
  desc: A condition of the usual length.
  condition: {condition}
  output: "%ka.user.name %ka.verb %ka.uri %ka.target.name %ka.response.code"
  priority: NOTICE
  source: k8s_audit
"""
_CONDITIONS = (
    "started and ka.target.resource = pods and ka.target.subresource in (exec, attach)",
    "changed and allowed and ka.target.resource = pods and ka.req.pod.containers.privileged intersects (true)",
    "changed and ka.target.resource = pods and ka.req.pod.host_network intersects (true)",
    "changed and ka.target.resource = pods and ka.req.pod.volumes.hostpath intersects (/proc, /, /etc, /root)",
    "changed and ka.target.resource = clusterrolebindings and ka.req.binding.role = cluster-admin",
    "changed and ka.target.resource in (roles, clusterroles) and ka.req.role.rules.verbs intersects (create)",
    "response and ka.verb = delete and ka.target.resource = namespaces and not ka.user.name in (known_users)",
    "changed and ka.target.resource = configmaps and ka.req.configmap.obj contains password",
    "response and ka.user.name = system:anonymous and ka.auth.decision != reject and not ka.uri startswith /healthz",
    "changed and ka.target.resource = services and ka.req.service.type = NodePort",
    "response and ka.target.resource = secrets and ka.verb in (get, list) and not ka.user.name in (known_users)",
    "changed and ka.target.namespace in (kube-system, kube-public) and ka.target.resource = serviceaccounts",
)


def made_events(count: int) -> list[dict[str, Any]]:
    """Return events of now; the same each time but for the time."""
    draw = random.Random(1)
    now = iso8601_zulu(time.time_ns())
    labels = {f"app.kubernetes.io/label-{number}": f"value-{number}" for number in range(30)}
    deployment = {"kind": "Deployment", "metadata": {"labels": labels}, "spec": {"template": {"metadata": labels}}}
    system = {"username": "system:kube-controller-manager", "groups": ["system:authenticated"]}
    lease = {"resource": "leases", "namespace": "kube-system", "name": "x"}
    container = {
        "name": "web",
        "image": "registry.example.com/web:1.27",
        "env": [{"name": "A", "value": "b" * 200}] * 5,
    }
    kinds: list[Callable[[], dict[str, Any]]] = [
        lambda: request(verb="get", user=system, objectRef=lease),
        lambda: request(verb="update", user=system, objectRef=lease),
        lambda: request(verb="watch", user=system, requestURI="/api/v1/pods?watch=1", objectRef={"resource": "pods"}),
        lambda: request(verb="patch", user=system, objectRef={"resource": "deployments"}, requestObject=deployment),
        lambda: request(verb="list", user=system, objectRef={"resource": "nodes"}, responseObject=deployment),
        lambda: pod_request(containers=[container] * 3),
        lambda: exec_request("bash"),
    ]
    chosen = draw.choices(kinds, (30, 30, 15, 10, 10, 4, 1), k=count)
    return [make() | {"auditID": f"event-{number}", "stageTimestamp": now} for number, make in enumerate(chosen)]


def main(files: Sequence[str] = ()) -> None:
    """Measure, and print a line for each part."""
    if files:
        loaded = load_rules(read_rule_files([Path(each) for each in files]))
    else:
        text = RULES + "".join(_RULE.format(number=n, condition=each) for n, each in enumerate(_CONDITIONS))
        loaded = load_rules([RuleFile("rules.yaml", text)])
    ruleset = compile_ruleset(loaded.rules, loaded.macros)
    events = made_events(EVENTS)
    lines = [json.dumps(event, separators=(",", ":")).encode() for event in events]
    size = sum(map(len, lines)) / len(lines)
    print(f"{len(ruleset.names_of())} rules, {EVENTS:,} events of {size:,.0f} bytes")
    bodies = list(_bodies(lines))
    stage = JsonStage(DetectStage(ruleset))
    now = time.time_ns() // 1_000_000
    _print("split", lambda: sum(len(split(body)) for body in bodies))
    _print("parsed and evaluated", lambda: sum(stage.take(line, ("", 0, 0), now).events for line in lines))
    with tempfile.TemporaryDirectory() as folder:
        _through_broker(Path(folder), bodies, files)


def _bodies(lines: Sequence[bytes]) -> Iterator[bytes]:
    for at in range(0, len(lines), PER_REQUEST):
        yield b'{"kind":"EventList","items":[' + b",".join(lines[at : at + PER_REQUEST]) + b"]}"


def _print(what: str, work: Callable[[], int]) -> None:
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        count = work()
        best = max(best, count / (time.process_time() - began))
    print(f"{what}: {best:,.0f} events per second of a core", flush=True)


def _through_broker(folder: Path, bodies: Sequence[bytes], files: Sequence[str]) -> None:
    with running_broker(folder / "kafka") as broker:
        connection = topics_on(broker, 4, "bench.")
        accepted = _webhook(folder, connection, bodies)
        _processor(folder, connection, files, accepted)


@contextmanager
def _started(folder: Path, connection: Connection, *arguments: str) -> Iterator[tuple[int, Path]]:
    """Run a command of lanner; yield its process id and its standard error."""
    environment = os.environ | {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS": connection.bootstrap_servers,
        "LANNER__KAFKA__PREFIX": connection.prefix,
        "LANNER__PUBLISHED_RULES__STATE_DIR": str(folder),
        "LANNER__HTTP__LISTEN": "127.0.0.1:0",
    }
    errors = folder / f"{arguments[0]}.err"
    with started([sys.executable, "-m", "lanner", *arguments], errors, "", env=environment) as running:
        yield running.process.pid, errors


def _wait_for(errors: Path, pattern: str) -> str:
    until = time.monotonic() + 60
    while (found := re.search(pattern, errors.read_text(encoding="utf-8"))) is None:
        if time.monotonic() > until:
            sys.exit(errors.read_text(encoding="utf-8"))
        time.sleep(0.1)
    return found[1]


def _webhook(folder: Path, connection: Connection, bodies: Sequence[bytes]) -> int:
    files = make_certificates(folder)
    options = {"certificate_file": files.server, "key_file": files.server_key, "client_ca_file": files.authority}
    flags = [f"-okubernetes_audit.{name}={value}" for name, value in options.items()]
    with _started(folder, connection, "intake", "kubernetes-audit", "--listen", "127.0.0.1:0", *flags) as (pid, errors):
        port = int(_wait_for(errors, r"events from https://127\.0\.0\.1:(\d+)/"))
        accepted: list[int] = []
        clients = [
            threading.Thread(target=_post, args=(port, files, bodies[number:], accepted)) for number in range(CLIENTS)
        ]
        before, began = cpu_seconds(pid), time.monotonic()
        for each in clients:
            each.start()
        for each in clients:
            each.join()
        seconds = time.monotonic() - began
        used = (cpu_seconds(pid) - before) / seconds
        rss = rss_mib(pid, "VmHWM:")
    total = sum(accepted)
    print(
        f"webhook with TLS, to the broker: {total / seconds:,.0f} events/s, {used * 100:.0f} % of a core, "
        f"{rss:.0f} MiB at most",
        flush=True,
    )
    return total


def _post(port: int, files: Certificates, bodies: Sequence[bytes], accepted: list[int]) -> None:
    """Post for some seconds, and append the number of events that were accepted."""
    context = ssl.create_default_context(cafile=str(files.authority))
    context.load_cert_chain(files.client, files.client_key)
    client = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    total, until = 0, time.monotonic() + SECONDS
    for body in cycle(bodies):
        if time.monotonic() >= until:
            break
        client.request("POST", "/", body)
        answer = client.getresponse()
        answer.read()
        total += PER_REQUEST if answer.status == http.HTTPStatus.OK else 0
    accepted.append(total)


def _processor(folder: Path, connection: Connection, files: Sequence[str], total: int) -> None:
    if not files:
        path = folder / "rules.yaml"
        path.write_text(RULES + "".join(_RULE.format(number=n, condition=each) for n, each in enumerate(_CONDITIONS)))
        files = [str(path)]
    flags = [f"--rules={each}" for each in files]
    with _started(folder, connection, "processor", *flags) as (pid, errors):
        url = _wait_for(errors, r"metrics and health at (http://\S+)/metrics")
        begun = 0.0
        first, count, cpu = 0, 0, 0.0
        while count < total:
            time.sleep(0.2)
            page = urllib.request.urlopen(f"{url}/metrics").read().decode()  # noqa: S310  a process of this file
            found = re.search(r'lanner_json_events_total\{outcome="evaluated"\} (\S+)', page)
            count = int(float(found[1])) if found else 0
            if count and not begun:
                begun, first, cpu = time.monotonic(), count, cpu_seconds(pid)
        seconds = time.monotonic() - begun
        used = cpu_seconds(pid) - cpu
    rate = (count - first) / seconds
    print(f"processor, from the broker: {rate:,.0f} events/s, {100 * used / seconds:.0f} % of a core")


if __name__ == "__main__":
    main(sys.argv[1:])
