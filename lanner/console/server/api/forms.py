"""The JSON forms of what the view answers with; docs/openapi describes them."""

from typing import Any

from lanner.console.store.marks import Mark
from lanner.console.store.rows import AlertGroup, AlertLine, GroupDetail, GroupPage, TimeHistogram
from lanner.console.times import time_text
from schemas.catalogue.priorities import Priority


def group_json(group: AlertGroup) -> dict[str, Any]:
    """Return a group as JSON."""
    return {
        "key": group.key,
        "rule": group.rule,
        "workload": group.workload,
        "text": group.text,
        "sample": group.sample,
        "priority": str(Priority(group.priority)),
        "tags": list(group.tags),
        "count": group.count,
        "hosts": group.hosts,
        "first": time_text(group.first),
        "last": time_text(group.last),
        "is_new": group.is_new,
        "state": group.state,
        "assignee": group.assignee,
        "muted_until": time_text(group.muted_until // 1000) if group.muted_until else None,
        "sparkline": list(group.sparkline),
    }


def page_json(page: GroupPage) -> dict[str, Any]:
    """Return a page of groups as JSON."""
    return {
        "groups": [group_json(group) for group in page.groups],
        "total": page.total,
        "alerts": page.alerts,
        "is_partial": page.is_partial,
    }


def detail_json(detail: GroupDetail) -> dict[str, Any]:
    """Return a group with everything about it as JSON."""
    return group_json(detail.group) | {
        "description": detail.description,
        "response": detail.response,
        "host_names": list(detail.hosts),
        "marks": [mark_json(mark) for mark in detail.marks],
    }


def mark_json(mark: Mark) -> dict[str, Any]:
    """Return a decision as JSON."""
    return {"field": mark.field, "value": mark.value, "author": mark.author, "at": time_text(mark.at // 1000)}


def line_json(line: AlertLine) -> dict[str, Any]:
    """Return an alert of a list as JSON."""
    return {
        "id": line.id,
        "time": time_text(line.time),
        "position": line.time,
        "host": line.host,
        "user": line.user,
        "namespace": line.namespace,
        "output": line.output,
    }


def histogram_json(histogram: TimeHistogram) -> dict[str, Any]:
    """Return counts by time and priority as JSON."""
    return {
        "since": time_text(histogram.since),
        "until": time_text(histogram.until),
        "bars": [
            {"start": time_text(bar.start), "counts": {str(Priority(each)): n for each, n in bar.counts.items()}}
            for bar in histogram.bars
        ],
    }
