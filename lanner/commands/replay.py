"""`lanner replay`: recorded events, judged by the rules of now."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from lanner.detection import load_detection
from lanner.failures import BadInput
from lanner.front import Options, front_command
from lanner.host_names import HostNames
from lanner.settings import Settings
from lanner.settings.delivery import SlackOutput
from lanner.settings.model import FileOutput, StdoutOutput, SyslogOutput
from lanner.settings.webhook import AppriseOutput, WebhookOutput
from lanner.sinks import open_sinks
from lanner.summary import Summary
from lanner.terminal import note
from notifier.sink import Sink
from processor.judges import OneProcess
from schemas.alert import Alert
from schemas.batch import EventBatch
from schemas.codec import BadBatch
from schemas.recording import read_recording

_NAME_SECONDS = 5
"""Waited for the addresses of the host names in rules: those of now, since nobody recorded those of then."""


@front_command("replay", example="lanner replay incident.avro --rules my_rules.yaml")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def command(options: Options, files: tuple[Path, ...]) -> None:
    """Run recorded events through the rules; needs no kernel and no rights."""
    settings = options.settings()
    detection = load_detection(settings, warnings=not options.quiet)
    if not options.quiet:
        for line in detection.notices:
            note(line)
    summary, lost = Summary(), Counter[str]()
    sinks = open_sinks(_only_printed(settings), note=note, before_line=lambda: None)
    judge = OneProcess(detection.judges)
    names = HostNames(detection.host_names)
    names.wait(_NAME_SECONDS)
    for file in files:
        _replay(file, lambda batch: judge.replay(names.named(batch)), sinks, summary, lost)
    _send(judge.correlator.finish(), sinks, summary)
    if not options.quiet:
        note(summary.text(lost))


def _only_printed(settings: Settings) -> Settings:
    """Leave standard output alone on: what happened long ago must not reach syslog as if it happened now."""
    return replace(
        settings,
        stdout_output=StdoutOutput(),
        file_output=FileOutput(),
        syslog_output=SyslogOutput(),
        slack_output=SlackOutput(),
        webhook_output=WebhookOutput(),
        apprise_output=AppriseOutput(),
        routes=(),
        mute=(),
    )


def _send(alerts: list[Alert], sinks: list[Sink], summary: Summary) -> None:
    for alert in alerts:
        summary.count(alert)
        for sink in sinks:
            sink.send(alert)


def _replay(
    file: Path,
    judge: Callable[[EventBatch], list[Alert]],
    sinks: list[Sink],
    summary: Summary,
    lost: Counter[str],
) -> None:
    try:
        for batch in read_recording(file):
            summary.events += batch.count
            lost.update(batch.lost)
            _send(judge(batch), sinks, summary)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise BadInput(f"{file}: {error.strerror}.") from None
    except BadBatch as error:
        raise BadInput(f"{error}; {summary.events:,} events before that were judged.") from None
