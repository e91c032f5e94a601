"""Settings of sources of events that are JSON."""

from collections.abc import Iterable
from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class JsonSourceSetting:
    """One source of events that are JSON, other than Kubernetes audit events."""

    source: str | None = about(
        "Its name, as rules write it: github, aws_cloudtrail, okta, sshd, json, or what the mapping file defines.", None
    )
    mapping: str | None = about(
        "File that says where time, host, user and key are, and defines fields; for a source with a shipped mapping,\n"
        "it replaces parts of that.",
        None,
        form=values.path,
    )
    topic: str | None = about(
        "Topic that holds its events as JSON, complete with prefix; processors read it, and need the right to.", None
    )


def json_topic_names(sources: Iterable[JsonSourceSetting]) -> tuple[str, ...]:
    """Return the topics that processors read, complete with prefix."""
    return tuple(each.topic for each in sources if each.topic is not None)
