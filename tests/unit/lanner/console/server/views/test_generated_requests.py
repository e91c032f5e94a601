import time
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lanner.actions.one_host import LocalActionRecords
from lanner.console.actions import ActionSource
from tests.unit.lanner.console.alerts import HOSTILE, found, hostile_alert
from tests.unit.lanner.console.events import THE_READ, read_at, retained
from tests.unit.lanner.console.server.conftest import Serve
from tests.unit.lanner.console.server.running import HEADER, Served

DESCRIPTION = yaml.safe_load(Path("lanner/console/pages/openapi.yaml").read_text()) | {"security": []}
OPERATIONS = [each.ok() for each in schemathesis.openapi.from_dict(DESCRIPTION).get_all_operations()]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 40


@pytest.fixture
def served(serve: Serve, tmp_path: Path) -> Served:
    """Return a console with events and alerts, some of an attacker."""
    now = time.time_ns()
    LocalActionRecords(tmp_path, creates=True).close()
    source = ActionSource(lambda: LocalActionRecords(tmp_path))
    made = serve(**retained(tmp_path, read_at(now)), actions=source)
    for number in range(3):
        made.queue.put(found(0, id=f"alert-{number}", time=now - number, **THE_READ))
    for number, text in enumerate(HOSTILE):
        made.queue.put(hostile_alert(text, id=f"hostile-{number}", time=time.time_ns() - number))
    made.wait_for(3 + len(HOSTILE))
    return made


def is_stream(operation: APIOperation) -> bool:
    """Whether an operation answers with a stream of events, of which only the beginning can be checked."""
    return "text/event-stream" in str(operation.definition.raw["responses"]["200"])


def existing(served: Served) -> dict[str, list[str]]:
    """Return names of what there is, by parameter."""
    groups = [group["key"] for group in served.ask("/api/groups?state=all&since=all").json["groups"]]
    alerts = ["alert-0", "hostile-1"]
    subjects = [f"group:{groups[0]}", f"group:{groups[-1]}", *(f"alert:{alert}" for alert in alerts)]
    return {"key": groups, "id": alerts, "subject": subjects}


def check(case: Case, address: str) -> None:
    """Send a request, and check the answer against the description."""
    if not is_stream(case.operation):
        case.call_and_validate(base_url=address, headers=HEADER, checks=CHECKS, timeout=30)
        return
    sent = case.as_transport_kwargs(base_url=address, headers=HEADER)
    with requests.request(**sent, stream=True, timeout=30) as answer:
        assert str(answer.status_code) in case.operation.definition.raw["responses"]
        assert answer.status_code < 500
        kind = "text/event-stream" if answer.status_code == 200 else "application/json"
        assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_operation_answers_as_described(operation: APIOperation, served: Served) -> None:
    """Whatever is sent, as described or not: no internal error, and every answer has the form that is described."""
    names = existing(served)
    # What takes nothing but a name can't be sent anything else.
    modes = GenerationMode if operation.query or operation.body else (GenerationMode.POSITIVE,)
    cases = st.one_of(operation.as_strategy(generation_mode=mode) for mode in modes)

    @given(data=st.data())
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def send(data: Any) -> None:
        case = data.draw(cases)
        for values in (case.path_parameters, case.body):
            for name in set(names) & set(values) if isinstance(values, dict) else ():
                if data.draw(st.booleans()):
                    values[name] = data.draw(st.sampled_from(names[name]))
        check(case, f"http://127.0.0.1:{served.port}")

    send()
