"""Consoles with alerts, and their pages."""

import time
from collections.abc import Iterator

from lanner.console.server.app import VIEWS
from schemas.alert import Alert
from tests.unit.lanner.console.alerts import found
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
            event=event,
            response="Look at its parent first.",
        )


def group_of(served: Served) -> str:
    """Return the key of the newest group."""
    return str(served.ask("/api/groups?since=all&state=all").json["groups"][0]["key"])


def pages(served: Served) -> dict[str, str]:
    """Return the paths of all kinds of pages by name: the views, and what they lead to."""
    return {view.name: view.path for view in VIEWS} | {
        "group": f"/groups/{group_of(served)}",
        "alert": "/alerts/alert-0",
        "nothing matches": "/?host=none",
        "filters": "/?rule=*&tag=host&since=7d&state=all",
    }


PAGES = (*(view.name for view in VIEWS), "group", "alert", "nothing matches", "filters")
"""The names of the pages."""
