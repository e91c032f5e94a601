"""Reads how current detection is: of a fleet from its topics, of `lanner run` from what it writes."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bus.connection import Connection
from bus.topics import EVENTS, PROCESSOR_GROUP
from foundation.files import write_atomically
from foundation.quantities import seconds_text
from lanner.errors import BadInput
from lanner.operations.freshness import (
    DiskSpace,
    Finding,
    Freshness,
    FreshnessLimits,
    PipelineQueue,
    ReaderKind,
    freshness,
)
from lanner.settings import Settings
from lanner.settings.sections.fleet import json_topic_names
from lanner.settings.sections.model import KINDS, KafkaSettings, section_of
from lanner.settings.sections.sinks import FileOutput

if TYPE_CHECKING:
    from bus.administration import GroupLag

REACH_SECONDS = 1.0
REPORT = "run.json"
"""File in notifier.state_dir with what `lanner run` reports about itself."""
_OLD_SECONDS = 20.0
"""`lanner run` writes it every few seconds."""
_MAX_BYTES = 1 << 20


def limits_of(settings: Settings) -> FreshnessLimits:
    """Return from when on something is late or silent."""
    late = settings.http.oldest_undelivered_seconds
    return FreshnessLimits(settings.lag.seconds, late, settings.hosts.silent_seconds)


def group_queues(connection: Connection, own_topics: Sequence[str] = ()) -> list[PipelineQueue]:
    """Return what waits for each group. Raises BusUnavailable, within a second if no broker takes connections.

    own_topics: those that processors read by json_sources.
    """
    # `lanner run` does without the broker's client.
    from bus.administration import NOTIFIER_GROUPS, GroupLags
    from bus.clients.availability import check_reachable

    def queue(kind: ReaderKind, name: str, lag: "GroupLag") -> PipelineQueue:
        return PipelineQueue(kind, name, lag.topic, lag.waiting, lag.oldest, lag.members)

    check_reachable(connection, REACH_SECONDS)
    found = []
    for each in GroupLags(connection, own_topics).read():
        if each.group == PROCESSOR_GROUP:
            found.append(queue("processor", each.group, each))
        elif each.group.startswith(NOTIFIER_GROUPS):
            found.append(queue("sink", each.group.removeprefix(NOTIFIER_GROUPS), each))
        else:
            found.append(queue("reader", each.group, each))
    return found


def fleet_freshness(
    settings: Settings, connection: Connection, stop: Callable[[], bool], show: Callable[[str], None]
) -> Freshness:
    """Read how current a fleet's detection is; arguments as find_hosts. Raises BusUnavailable."""
    from lanner.recorder.hosts import find_hosts

    queues = group_queues(connection, json_topic_names(settings.json_sources))
    if not any(each.kind == "processor" for each in queues):
        why = "no processor has read events, or this user may not see consumer groups"
        queues.append(PipelineQueue("processor", PROCESSOR_GROUP, EVENTS, 0, None, failure=why))
    hosts = find_hosts(connection, time.time_ns() // 1_000_000, stop, show)
    return freshness(time.time(), limits_of(settings), queues, hosts)


def disk_spaces(settings: Settings, of_notifier: Sequence[str] | None = None) -> Iterator[DiskSpace]:
    """Yield the space where Lanner writes files on this host, for each file system.

    of_notifier: the names of the sinks, if only a notifier with them writes.
    """
    is_notifier = of_notifier is not None
    folders = {"notifier.state_dir": settings.notifier.state_dir}
    if settings.keep.size_mib and not is_notifier:
        folders["keep.folder"] = settings.keep.folder
    if settings.memory.enabled and not is_notifier:
        folders["memory.filename"] = str(Path(settings.memory.filename).parent)
    if settings.console.enabled and not is_notifier:
        folders["console.state_dir"] = settings.console.state_dir
    if settings.kafka != KafkaSettings() and not is_notifier:
        folders["kafka.spool_dir"] = settings.kafka.spool_dir
    for name in of_notifier or (*KINDS, *settings.sinks):
        section = section_of(settings, name)
        if isinstance(section, FileOutput) and (section.enabled or is_notifier):
            folders[f"sink {name}"] = str(Path(section.filename).parent)
    by_device: defaultdict[int, dict[str, Path]] = defaultdict(dict)
    for setting, folder in folders.items():
        path = Path(folder).absolute()
        found = next((each for each in (path, *path.parents) if os.path.exists(each)), Path("/"))  # noqa: PTH110  no error
        with suppress(OSError):
            by_device[found.stat().st_dev][setting] = found
    for of_device in by_device.values():
        nearest = min(of_device.values(), key=lambda path: len(path.parts))
        with suppress(OSError):
            state = os.statvfs(nearest)
            # Others have no room by nature, such as /proc, or the image below a container.
            if state.f_blocks and not state.f_flag & os.ST_RDONLY:
                free = 0 if state.f_files and not state.f_favail else state.f_bavail * state.f_frsize
                yield DiskSpace(str(nearest), ", ".join(of_device), free)


def write_report(settings: Settings, current: Freshness) -> None:
    """Write what `lanner run` reports about itself. Raises OSError."""
    content = json.dumps({"pid": os.getpid(), **asdict(current)}).encode()
    write_atomically(Path(settings.notifier.state_dir) / REPORT, [content])


def remove_report(settings: Settings) -> None:
    """Remove what this process wrote. Raises OSError."""
    (Path(settings.notifier.state_dir) / REPORT).unlink(missing_ok=True)


def reported_freshness(settings: Settings) -> Freshness:
    """Return how current the detection of `lanner run` is on this host. Raises BadInput."""
    file = Path(settings.notifier.state_dir) / REPORT
    now = time.time()
    try:
        with file.open("rb") as opened:
            found = json.loads(opened.read(_MAX_BYTES))
        findings = [Finding(**each) for each in found["findings"]]
        current = Freshness(float(found["read_at"]), found["evaluated"], bool(found["is_late"]), findings)
        is_gone = not Path(f"/proc/{int(found['pid'])}").exists()
    except FileNotFoundError:
        why = f"it doesn't run, or with another notifier.state_dir than {settings.notifier.state_dir}"
        return Freshness(now, None, is_late=True, findings=[Finding("evaluation", "lanner run", why, is_problem=True)])
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}: use sudo if `lanner run` is another user's.") from None
    except (ValueError, TypeError, KeyError):
        raise BadInput(f"{file}: not what `lanner run` writes: is it of another version?") from None
    age = now - current.read_at
    if not is_gone and age < _OLD_SECONDS:
        return current
    text = f"{'it was killed' if is_gone else 'it hangs'}: its last report is {seconds_text(age)} old"
    own = Finding("evaluation", "lanner run", text, is_problem=True)
    others = [each for each in current.findings if each.subject != "evaluation"]
    return replace(current, read_at=now, is_late=True, findings=[own, *others])
