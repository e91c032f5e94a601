"""Run the examples of docs/topics.md as a reader would."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.clients.readers import TopicReader
from bus.connection import Connection
from bus.topics import (
    ACTION_INTENTS,
    HOST_PINS,
    KUBERNETES_AUDIT,
    NOTIFIER_DEAD_LETTERS,
    PODS,
    PROCESSOR_DEAD_LETTERS,
    QUIET_HOSTS,
    SESSIONS,
    SIEM_CIM,
    SIEM_ECS,
    SIEM_FALCO,
    SIEM_OCSF,
    TOPICS,
)
from lanner.actions.topics import TopicActionRecords
from lanner.console.feed import Action
from lanner.console.feed_topics import AuditTopic, MarkTopic
from lanner.console.store.rows import Mark
from schemas.action import ActionDecision, ActionResult
from schemas.pod import Pod, encode_pod
from tests.cluster.actions import RULES, Generator, rules_file
from tests.cluster.identities import SigningHost
from tests.cluster.processes import Processes
from tests.cluster.test_actions import POLICY, written_key
from tests.unit.processor.detection.requests import exec_request, line, request

PAGE = Path(__file__).parents[2] / "docs" / "topics.md"
_BLOCK = re.compile(r"^<!-- prints: ([^\n]+) -->\n```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MEMORY = """
- macro: repeated
  condition: evt.type = openat and fd.name startswith /marked/
  correlation: {type: event_count, group-by: [fd.name], timespan: 1m, condition: {gte: 2}}
- rule: Repeated act
  desc: The same act twice.
  condition: repeated
  output: twice %fd.name
  priority: NOTICE
"""


@dataclass(frozen=True)
class Example:
    """A code block of the page, and its expected output."""

    language: str
    text: str
    prints: str


EXAMPLES = [Example(language, text, prints) for prints, language, text in _BLOCK.findall(PAGE.read_text())]


def test_every_topic_stands_on_the_page_and_all_but_the_state_have_an_example() -> None:
    """Every topic is documented."""
    page = PAGE.read_text()
    examples = "".join(example.text for example in EXAMPLES)
    for kind in TOPICS:
        assert f"`{kind.name}`" in page
        if "changelog" not in kind.name:
            assert f"lanner.{kind.name}" in examples or f'PREFIX + "{kind.name}"' in examples, kind.name


def wait_for_messages(connection: Connection, topic: str, count: int) -> None:
    """Wait until a topic holds so many messages."""
    reader = TopicReader(connection, connection.topic(topic), whole=True)
    deadline = time.monotonic() + 40
    while count and time.monotonic() < deadline:
        count -= reader.poll(0.2) is not None
    reader.close()
    assert not count, topic


def decide_in_console(connection: Connection) -> None:
    """Write to the console's topics what a person's click writes."""
    MarkTopic(connection).put(Mark("group:0a1b", "acknowledged", "1", "alice", 1))
    AuditTopic(connection).record(Action(1, "alice", "analyst", "token", "::1", "acknowledge", "group:0a1b", "1"))


def test_each_example_prints_what_the_page_states(connection: Connection, processes: Processes, tmp_path: Path) -> None:
    """Each block prints what the page states, with a fleet that has written to every topic."""
    if shutil.which("kcat") is None:
        assert not os.environ.get("CI"), "CI needs kcat: deploy/setup/system.sh test installs it"
        pytest.skip("needs kcat")
    rules = rules_file(tmp_path, RULES + MEMORY + POLICY.replace("state: do", "state: would"))
    key = written_key(tmp_path, "actions.pem")
    processor = processes.start(connection, "processor", "-o", f"actions.key_file={tmp_path}/actions.pem", rules=rules)
    processor.wait_for("evaluating rules:")
    assert processes.start(connection, "rules", "publish", "--yes", rules).result() == 0
    state = ["-o", f"notifier.state_dir={tmp_path / 'state'}"]
    processes.start(connection, "notifier", SIEM_FALCO, SIEM_ECS, SIEM_OCSF, SIEM_CIM, *state)
    generator = Generator(connection, hosts=1)
    generator.act(2)
    signing = SigningHost(connection, "web-1", tmp_path)
    signing.act()
    assert signing.stop() == 0
    assert processes.start(connection, "hosts", "enroll", signing.name, signing.key).result() == 0
    wait_for_messages(connection, HOST_PINS, 1)
    wait_for_messages(connection, QUIET_HOSTS, 1)
    generator.send(encode_pod(Pod("pod-1", "web-1", "prod", service_account="web")), "pod-1", topic=PODS)
    generator.send(line(request()), "audit", topic=KUBERNETES_AUDIT)
    generator.send(line(exec_request("sh")), "exec", topic=KUBERNETES_AUDIT)
    generator.send(b"nonsense", "host-0")
    generator.send(b"nonsense", "host-0", topic="alerts")
    generator.flush()
    decide_in_console(connection)
    records = TopicActionRecords(connection, key)
    records.write(ActionDecision("d", "approve", "i", "ann", 1))
    records.write(ActionResult("i", "host-0", "host-0", "done", "moved 1 file", 1))
    wait_for_messages(connection, ACTION_INTENTS, 1)
    for topic in (SIEM_FALCO, SIEM_ECS, SIEM_OCSF, SIEM_CIM):
        wait_for_messages(connection, topic, 2)
    wait_for_messages(connection, SESSIONS, 1)
    wait_for_messages(connection, PROCESSOR_DEAD_LETTERS, 1)
    wait_for_messages(connection, NOTIFIER_DEAD_LETTERS, 1)

    failed = []
    for number, example in enumerate(EXAMPLES):
        text = example.text.replace("127.0.0.1:9092", connection.bootstrap_servers)
        text = text.replace('"lanner."', json.dumps(connection.prefix)).replace("lanner.", connection.prefix)
        if example.language == "sh":
            command = ["bash", "-euo", "pipefail", "-c", text]
        else:
            # The page states under which name the first program is imported by the others.
            path = tmp_path / ("lanner_topics.py" if "def decoded" in text else f"example_{number}.py")
            path.write_text(text)
            command = [sys.executable, str(path)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
        if ran.returncode or ran.stderr or example.prints not in ran.stdout:
            failed.append((example.prints, ran.returncode, ran.stderr[-500:], ran.stdout[-500:]))
    assert not failed
