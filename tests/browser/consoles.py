"""Consoles with alerts, and their pages."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lanner.actions.one_host import LocalActionRecords
from lanner.console.actions import ActionSource
from lanner.console.server.app import VIEWS
from lanner.settings import load_settings
from lanner.wiring.hunts import hunt_source
from lanner.wiring.stages.consoles import outbox_pipeline
from notifier.outbox import Outbox
from processor.actions.policies import BLOWN
from schemas.action import ActionDecision, ActionIntent
from schemas.alert import Alert
from tests.unit.alerts import alert
from tests.unit.lanner.console.alerts import found
from tests.unit.lanner.console.events import THE_READ, read_at, retained
from tests.unit.lanner.console.fleet.hosts import READ_AT, GivenHosts, host
from tests.unit.lanner.console.fleet.rules import known_rules, rule_facts
from tests.unit.lanner.console.server.running import Served

SECOND, MINUTE = 10**9, 60 * 10**9
RULES = (
    ("Read sensitive file", "Warning", "A file was read | file=/etc/shadow"),
    ("Terminal shell in container", "Notice", "A shell was opened | shell=bash parent=runc"),
    ("Drop and execute new binary in container", "Critical", "A new binary ran | exe=/tmp/x command=/tmp/x -o pool"),
)


def recent(number: int, **facts: object) -> Alert:
    """Make an alert that came so many seconds ago."""
    return found(0, id=f"alert-{number}", time=time.time_ns() - number * SECOND, **facts)


def several(count: int = 12) -> Iterator[Alert]:
    """Yield alerts of several rules, hosts and workloads."""
    for number in range(count):
        rule, priority, output = RULES[number % len(RULES)]
        event = {
            "user.name": ("root", "alice")[number % 2],
            "proc.name": "cat",
            "proc.cmdline": f"cat /etc/shadow {number}",
        }
        if number % 4:
            event |= {"container.id": "0123456789ab", "container.image.repository": "docker.io/library/nginx"}
        yield recent(
            number * 60,
            rule=rule,
            priority=priority,
            output=f"{output} pid={4000 + number}",
            hostname=f"web-{number % 4}",
            host_id="1",
            event=event if number else event | THE_READ["event"],
            response="Look at its parent first.",
        )


def surroundings(folder: Path, text: str = "") -> dict[str, Any]:
    """Return what a console shows beside alerts: events, hosts and queues.

    Args:
        folder: for the files.
        text: of an attacker, in place of names.
    """
    outbox = Outbox(folder / "slack.outbox.db", capacity=10)
    for number in range(3):
        outbox.put(alert(id=f"letter-{number}", rule=text or "Read sensitive file"))
    outbox.dead_letter(outbox.fetch(1, 0)[0], text or "400 Bad Request", 3)
    outbox.close()
    names = dict.fromkeys(("id", "name", "version", "kernel", "rules"), text) if text else {}
    hosts = (
        host(1),
        host(2, seen=READ_AT - 600_000, losses={text or "ring": 12_345}, narrowed=(text or "connect",)),
        host(3, offset=-7_200_000_000_000, watched=None, **names),
    )
    fleet = GivenHosts(*hosts)
    fleet.known_rules = known_rules()
    if text:
        facts = rule_facts(text, tags=(text, "T1003"), description=text, response=text, condition=text, place=text)
        fleet.known_rules = known_rules(rules=(facts, rule_facts()), costs=text, seconds={text: 1.0})
    return retained(folder, read_at(time.time_ns(), text)) | {
        "fleet": fleet,
        "pipeline": outbox_pipeline(load_settings(None, {}, [f"notifier.state_dir={folder}"])),
        "actions": _actions(folder, text.replace("\0", "")),
        "hunts": hunt_source(load_settings(None, {}, []), folder / "events"),
    }


def _actions(folder: Path, text: str) -> ActionSource:
    """Return records of actions, of which one waits and one was refused."""
    records = LocalActionRecords(folder, creates=True)
    waiting = ActionIntent(
        *("waiting", "freeze", "container", "1", text or "web-1", "ask", f"container {text or 'web'}", 1),
        *(text or "Freeze shells", "", 900_000_000_000),
        approvals=1,
        container_id="0123456789ab",
        alert="alert-0",
        rule=text or RULES[0][0],
        workload=text or "shop/web",
    )
    records.write(waiting)
    records.write(replace(waiting, id="refused", refusal=f"{BLOWN}: {text}"))
    records.write(ActionDecision("stop", "stop", "", text or "ann", time.time_ns()))
    records.close()
    return ActionSource(lambda: LocalActionRecords(folder))


def group_of(served: Served) -> str:
    """Return the key of the newest group."""
    return str(served.ask("/api/groups?since=all&state=all").json["groups"][0]["key"])


def pages(served: Served) -> dict[str, str]:
    """Return the paths of all kinds of pages by name: the views, and what they lead to."""
    return {view.name: view.path for view in VIEWS} | {
        "group": f"/groups/{group_of(served)}",
        "alert": "/alerts/alert-0",
        "host": "/hosts/host?id=id-2",
        "rule": "/rules/rule?name=Read+sensitive+file",
        "matrix": "/rules/attack",
        "search of events": "/search?q=proc.pid+%3D+4711&since=1h",
        "nothing matches": "/?host=none",
        "filters": "/?rule=*&tag=host&since=7d&state=all",
    }


PAGES = (
    *(view.name for view in VIEWS),
    "group",
    "alert",
    "host",
    "rule",
    "matrix",
    "search of events",
    "nothing matches",
    "filters",
)
"""The names of the pages."""
