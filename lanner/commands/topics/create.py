"""`lanner topics create`: creates the topics and checks existing ones."""

import json
import sys

import click

from bus.clients.reachability import check_reachable
from bus.connection import Connection
from bus.errors.unavailable import BusUnavailable
from bus.topics import TopicPlan, check_topics, plan
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.options.times import duration_ms
from lanner.cli.terminal.output import note
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.wiring.kafka import connection_of
from schemas.text.durations import UNITS, duration_text


def _duration(ctx: click.Context, parameter: click.Parameter, value: str) -> int:  # noqa: ARG001  click gives both
    try:
        return duration_ms(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


@front_command(
    "create",
    example="lanner topics create --partitions 8 --replication-factor 3 --events-retention 24h --dry-run",
    without=NO_RULES,
)
@click.option(
    "--partitions", type=click.IntRange(1, 10_000), required=True, metavar="N", help="Maximum number of processors."
)
@click.option(
    "--replication-factor", type=click.IntRange(1, 100), required=True, metavar="N", help="Copies of each message."
)
@click.option(
    "--events-retention",
    default="24h",
    callback=_duration,
    metavar="TIME",
    help="How long events are retained.  [default: 24h]",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done; without a broker, what the topics would be.")
def command(options: Options, partitions: int, replication_factor: int, events_retention: int, dry_run: bool) -> None:  # noqa: FBT001  flags
    """Create missing topics and check existing ones, which are never changed.

    The number of partitions is permanent: it bounds how many processors can share the work, and changing it later would
    break the order of events per host and group. Use twice what you expect to need.
    """
    need("processor", "confluent_kafka")
    from bus.administration import Created, create_missing

    settings = options.settings()
    connection = connection_of(settings)
    unreachable = _why_unreachable(connection)
    if unreachable is not None and not dry_run:
        raise unreachable
    plans = plan(connection.prefix, partitions, replication_factor, events_retention)
    done = Created((), ()) if unreachable else create_missing(connection, plans, dry_run=dry_run)
    verb = "would create if missing" if unreachable else "would create" if dry_run else "created"
    there = {state.name: state for state in done.there}
    states = {each.name: "exists" if each.name in there else verb for each in plans}
    wrong = [each for each in check_topics(connection.prefix, there) if each.topic in there and each.fatal]
    events = there.get(connection.topic("events"))
    if events is not None and events.partitions != partitions:
        wrong = [each for each in wrong if each.topic != events.name]
        raise BadInput(
            *(f"{each.text}." for each in wrong),
            f"topic {events.name} has {events.partitions} partitions, not {partitions}: "
            f"use --partitions {events.partitions}, or choose another kafka.prefix.",
        )
    if settings.json_output:
        rows = [{"topic": each.name, "state": states[each.name], **_row(each)} for each in plans]
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        print_table(
            ("TOPIC", "", "PARTITIONS", "COPIES", "RETENTION"),
            [
                (each.name, states[each.name], str(each.partitions), str(each.replication), _retention(each))
                for each in plans
            ],
        )
    if wrong:
        raise BadInput(
            *(f"{each.text}." for each in wrong),
            "existing topics are not changed: delete them and run this again, or choose another kafka.prefix.",
        )
    if unreachable is not None:
        note(f"existing topics were not checked: {unreachable.reason}.", "warning")
    if replication_factor == 1 and not options.quiet:
        note("only one copy of each message: a lost broker loses messages. With 3 brokers, use --replication-factor 3.")


def _why_unreachable(connection: Connection) -> BusUnavailable | None:
    try:
        check_reachable(connection)
    except BusUnavailable as error:
        return error
    return None


def _retention(each: TopicPlan) -> str:
    if each.kind.cleanup == "compact":
        return "newest of each key"
    retention = int(each.config["retention.ms"]) * UNITS["ms"]
    return duration_text(retention, "h" if retention < 2 * UNITS["d"] else "d")


def _row(each: TopicPlan) -> dict[str, object]:
    return {"partitions": each.partitions, "replication": each.replication, "config": dict(each.config)}
