"""Which alerts a command shows: the same options for those that come and those that were kept."""

import fnmatch
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from notifier.formats.severity import SEVERITY
from schemas.alert import Alert

_NAMES = {name.lower(): name for name in SEVERITY} | {"info": "Informational"}


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """All that is given must hold."""

    priority: str = "debug"
    """This grave or graver."""
    rule: str = "*"
    host: str = "*"
    tags: tuple[str, ...] = ()

    def takes(self, alert: Alert) -> bool:
        """Tell whether an alert is wanted."""
        return (
            SEVERITY.get(alert.priority, 0) <= SEVERITY[_NAMES[self.priority]]
            and fnmatch.fnmatchcase(alert.rule, self.rule)
            and (fnmatch.fnmatchcase(alert.hostname, self.host) or alert.host_id == self.host)
            and set(self.tags) <= set(alert.tags)
        )


_OPTIONS = (
    click.option("--priority", type=click.Choice(tuple(_NAMES), case_sensitive=False), default="debug",
                 help="Only alerts this grave or graver."),
    click.option("--rule", metavar="PATTERN", default="*", help="Only rules of such a name; * stands for any text."),
    click.option("--host", metavar="PATTERN", default="*", help="Only hosts of such a name, or of this id."),
    click.option("--tag", "tags", metavar="TAG", multiple=True, help="Only alerts with this tag; repeatable."),
)  # fmt: skip


def alert_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options, handed to it as one `wanted`."""

    @functools.wraps(function)
    def wrapped(*args: Any, priority: str, rule: str, host: str, tags: tuple[str, ...], **rest: Any) -> Any:
        return function(*args, wanted=AlertFilter(priority.lower(), rule, host, tags), **rest)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
