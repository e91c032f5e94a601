"""ECS documents in a real OpenSearch. Elasticsearch has no jars of its server in a registry."""

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notifier.formats.ecs import DATA_STREAM, document
from schemas.alert import Alert
from tests.live.needs import lacking
from tests.ports import free_ports
from tests.unit.notifier.formats.corpus import CORPUS

ROOT = Path(__file__).parents[3]
VERSION = "2.19.6"
START_SECONDS = 120
PLUGIN = f"""\
name=transport-netty4
description=HTTP
version={VERSION}
opensearch.version={VERSION}
java.version=11
classname=org.opensearch.transport.Netty4Plugin
"""
LOG = """\
appender.console.type = Console
appender.console.name = console
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""
HOSTILE = replace(
    CORPUS[2],
    event={
        **CORPUS[2].event,
        "fd.cip": "not an address",
        "process.args": ("x", "y" * 60_000),
        "proc.cwd": "w" * 60_000,
    },
    output="o" * 60_000,
    output_fields={"proc.cmdline": "z" * 60_000},
)
"""Values that an index refuses unless its template leaves them out."""
ALERTS = [replace(each, id=f"alert-{number}") for number, each in enumerate((*CORPUS, HOSTILE))]


class SearchIndex:
    """An OpenSearch of one node."""

    def __init__(self, home: Path) -> None:
        port, transport = free_ports(2)
        self._url = f"http://127.0.0.1:{port}"
        jars = subprocess.run(
            [ROOT / "deploy" / "kafka" / "jars.sh", Path(__file__).parent / "opensearch.xml"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        module, config = home / "modules" / "transport-netty4", home / "config"
        for folder in (module, config):
            folder.mkdir(parents=True)
        libraries = []
        for jar in Path(jars).glob("*.jar"):
            if jar.name.startswith(("netty-", "transport-netty4")):
                shutil.copy(jar, module)
            else:
                libraries.append(str(jar))
        (module / "plugin-descriptor.properties").write_text(PLUGIN)
        (module / "plugin-security.policy").write_text("grant { permission java.security.AllPermission; };\n")
        (config / "log4j2.properties").write_text(LOG)
        settings = {"discovery.type": "single-node", "network.host": "127.0.0.1", "http.port": port}
        settings |= {"transport.port": transport, "cluster.routing.allocation.disk.threshold_enabled": False}
        (config / "opensearch.yml").write_text(json.dumps(settings))
        # It refuses to run as root, which it is not in a namespace of its own.
        prefix = ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []
        self._log = home / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *prefix, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
                    "-Djava.security.manager=allow", f"-Djava.io.tmpdir={home}", f"-Dopensearch.path.home={home}",
                    f"-Dopensearch.path.conf={config}", "-Dopensearch.distribution.type=tar",
                    "-Dopensearch.bundled_jdk=false", "-cp", ":".join(libraries), "org.opensearch.bootstrap.OpenSearch",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("GET", "/")
            except OSError:
                assert self._process.poll() is None, self._log.read_text()[-3000:]
                assert time.monotonic() < deadline, self._log.read_text()[-3000:]
                time.sleep(0.2)
            else:
                return

    def ask(self, method: str, path: str, body: str = "") -> Any:
        """Return the answer to a request."""
        headers = {"Content-Type": "application/x-ndjson" if path.startswith("/_bulk") else "application/json"}
        request = urllib.request.Request(self._url + path, body.encode() or None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())

    def create(self, alerts: list[Alert]) -> list[tuple[int, Any]]:
        """Write documents as the consumers do; return the status of each, and why it was refused."""
        lines = []
        for each in alerts:
            lines.append(json.dumps({"create": {"_index": DATA_STREAM, "_id": each.id}}))
            lines.append(json.dumps(document(each, console="https://console.example/")))
        items = self.ask("POST", "/_bulk?refresh=true", "\n".join(lines) + "\n")["items"]
        return [(item["create"]["status"], item["create"].get("error")) for item in items]

    def count(self, query: dict[str, Any]) -> int:
        """Return how many documents of the data streams that Elastic Security reads match."""
        found = self.ask("POST", "/logs-*/_count", json.dumps({"query": query}))["count"]
        assert isinstance(found, int)
        return found

    def stop(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchIndex]:
    """Provide a search index without documents."""
    if shutil.which("java") is None:
        lacking("Java 17: deploy/setup/system.sh test installs it")
    made = SearchIndex(tmp_path_factory.mktemp("opensearch"))
    try:
        made.wait()
        yield made
    finally:
        made.stop()


def test_a_search_index_stores_each_alert_once_whatever_a_host_chose(index: SearchIndex) -> None:
    """In the data stream of the template; by the types that searches need; a second delivery is refused."""
    template = (ROOT / "deploy" / "siem" / "opensearch-index-template.json").read_text()
    index.ask("PUT", "/_index_template/logs-lanner.alerts", template)
    assert index.create(ALERTS) == [(201, None)] * len(ALERTS)
    assert {status for status, _ in index.create(ALERTS)} == {409}
    (stream,) = index.ask("GET", "/_data_stream")["data_streams"]
    assert (stream["name"], stream["template"]) == (DATA_STREAM, "logs-lanner.alerts")
    assert index.count({"term": {"event.kind": "alert"}}) == len(ALERTS)
    private = [each for each in ALERTS if document(each).get("source", {}).get("ip", "").startswith("10.")]
    assert index.count({"range": {"source.ip": {"gte": "10.0.0.0", "lte": "10.255.255.255"}}}) == len(private) > 0
    assert index.count({"wildcard": {"process.command_line": "*shadow*"}}) == index.count(
        {"exists": {"field": "process"}}
    )
    assert index.count({"term": {"falco.output_fields.fd.name": "/etc/shadow"}}) > 0
    assert index.count({"term": {"_ignored": "source.ip"}}) == 1
