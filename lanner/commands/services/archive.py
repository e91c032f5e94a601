"""`lanner archive`: stores a fleet's events and alerts as Parquet files."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from bus.acls import topics_of
from foundation.text import count_of
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.process import Signals, Watchdog, notify_systemd
from lanner.settings import Settings
from lanner.terminal.output import note
from lanner.wiring.kafka import connection_of

_STORING_SECONDS = 240
"""How long storing what is in memory may take in a slow bucket; Kafka gives its partitions to others after 300."""


@front_command(
    "archive",
    example="lanner archive\nlanner archive -o archive.folder=s3://lanner/archive\nlanner archive --status",
    formats=(),
    without=NO_RULES,
)
@click.option("--status", is_flag=True, help="Print how much the archive has, and end.")
def command(options: Options, *, status: bool) -> None:
    """Store a fleet's events and alerts as Parquet files, for longer than the topics retain them.

    Files are in a folder or in an S3-compatible store, in a folder for each hour. Files that are complete state where
    reading continues, so nothing is lost or stored twice, however a process ends. Several processes share the work.
    With archive.indicator_days, one of them searches the archive for the entries that lists of indicators gain, and
    publishes alerts of what it finds.
    """
    need("archive", "pyarrow", "numpy")
    from lanner.wiring.check import check_settings

    loaded = options.load()
    settings = loaded.settings
    if status:
        loaded.valid()
        _print_status(settings)
        return
    need("archive", "confluent_kafka")
    if settings.archive.indicator_days:
        need("archive", "duckdb", "sqlglot")
    check_settings(loaded, "archive")
    _run(options, settings)


def _run(options: Options, settings: Settings) -> None:
    from lanner.operations.archive import ArchiveView
    from lanner.terminal.logs import log_to_stderr
    from lanner.wiring.kafka import topics_in_order
    from lanner.wiring.servers import endpoint
    from lanner.wiring.stages.archive import archive_service
    from lanner.wiring.stores import archive_files

    log_to_stderr(settings.log_level, settings.log_format, "archive")
    connection = connection_of(settings)
    searched = topics_of("indicator-search") if settings.archive.indicator_days else ()
    topics_in_order(connection, tuple(dict.fromkeys((*topics_of("archive"), *searched))))
    files = archive_files(settings, settings.archive.folder)
    archive = archive_service(settings, files, connection, note)
    stuck_seconds = max(settings.http.stuck_seconds, _STORING_SECONDS)
    view = ArchiveView(archive.intake, archive.consumer, archive.upkeep, stuck_seconds, settings.archive.folder)
    watchdog = Watchdog()

    def turn() -> None:
        view.turned.beat()
        watchdog.beat()

    with endpoint(settings, "archive", view.readings, view.health()), Signals() as signals:
        notify_systemd("READY=1")
        if not options.quiet:
            note(f"events and alerts from {connection.bootstrap_servers} go to {settings.archive.folder}. Stop: Ctrl-C")
        try:
            archive.run(lambda: signals.stop, turn)
        finally:
            notify_systemd("STOPPING=1")
    if not options.quiet:
        counts = archive.intake.counts
        note(
            f"{count_of(counts.events, 'event')} and {count_of(counts.messages['alerts'], 'alert')} stored "
            f"in {count_of(counts.files, 'file')}, {counts.stored_bytes / 2**20:,.1f} MiB; "
            f"{count_of(sum(counts.unreadable.values()), 'message')} could not be read"
        )


def _print_status(settings: Settings) -> None:
    from lanner.archive.files import metadata_of, without_replaced
    from lanner.archive.schema import DATASETS
    from lanner.wiring.stores import archive_files
    from schemas.encoding.batch import BadBatch

    folder = settings.archive.folder
    if "://" not in folder and not Path(folder).is_dir():
        raise BadInput(f"archive.folder: {folder}: no such folder.")
    files = archive_files(settings, folder)
    lines = []
    for dataset in DATASETS:
        try:
            found, _ = without_replaced(files.all(dataset))
        except OSError as error:
            raise BadInput(f"archive.folder: {folder}: {error}.") from None
        rows = damaged = 0
        for each in found:
            try:
                rows += int(metadata_of(files, each).num_rows)
            except BadBatch:
                damaged += 1
        size = sum(each.size for each in found)
        line = f"{dataset}: {count_of(rows, 'row')} in {count_of(len(found), 'file')}, {size / 2**20:,.1f} MiB"
        if found:
            line += f", from {_time(min(each.appended for each in found))}, "
            line += f"the newest file from {_time(max(each.appended for each in found))}"
        if rows:
            line += f", {size / rows:,.1f} bytes a row"
        if damaged:
            line += f"; {count_of(damaged, 'file')} can't be read"
        lines.append(line)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
