"""The options that select alerts, shared by `lanner alerts list` and `lanner alerts tail`."""

import fnmatch
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from schemas.alert import Alert
from schemas.catalogue.priorities import BY_NAME, SEVERITY


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Selects alerts that meet all of these conditions."""

    priority: str = "debug"
    """This priority or higher."""
    rule: str = "*"
    host: str = "*"
    tags: tuple[str, ...] = ()

    def matches(self, alert: Alert) -> bool:
        """Return whether the filter selects an alert."""
        return (
            SEVERITY.get(alert.priority, 0) <= BY_NAME[self.priority]
            and fnmatch.fnmatchcase(alert.rule, self.rule)
            and (fnmatch.fnmatchcase(alert.hostname, self.host) or alert.host_id == self.host)
            and set(self.tags) <= set(alert.tags)
        )


_OPTIONS = (
    click.option("--priority", type=click.Choice(tuple(BY_NAME), case_sensitive=False), default="debug",
                 help="Only alerts of this priority or higher."),
    click.option("--rule", metavar="PATTERN", default="*", help="Only rules with this name; * matches any text."),
    click.option("--host", metavar="PATTERN", default="*", help="Only hosts with this name or id."),
    click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only alerts with this tag; repeatable."),
)  # fmt: skip


def alert_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a command; they are passed as one `AlertFilter`, `selection`."""

    @functools.wraps(function)
    def wrapped(*args: Any, priority: str, rule: str, host: str, tags: tuple[str, ...], **rest: Any) -> Any:
        return function(*args, selection=AlertFilter(priority.lower(), rule, host, tags), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
