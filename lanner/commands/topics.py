"""`lanner topics`: takes the settings; creates topics and grants rights on the broker."""

import json
import sys

import click

from bus.acls import PARTS, Grant, audit_topic_grants, commands, json_source_grants
from bus.connection import BusUnavailable, Connection
from bus.topics import TopicPlan, check_topics, plan
from foundation.quantities import UNITS, duration_text
from lanner.cli.app import NO_RULES, Group, Options, front_command
from lanner.cli.options import duration_ms
from lanner.cli.tables import TOPICS
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.settings import Settings
from lanner.settings.sections.fleet import json_topic_names
from lanner.terminal.output import note
from lanner.terminal.tables import print_table
from lanner.wiring.kafka import connection_of, reachable_connection


@click.group("topics", cls=Group, lazy=TOPICS, example="lanner topics create --partitions 8 --replication-factor 3")
def command() -> None:
    """Create and check a fleet's topics and ACLs."""


@front_command(
    "acls",
    example="lanner topics acls --for collector --for processor --dry-run\n"
    "lanner topics acls --for notifier --principal User:notifier-eu\n"
    "lanner topics acls --for processor --kafka-acls > acls.sh",
    without=NO_RULES,
)
@click.option(
    "--for",
    "parts",
    type=click.Choice(list(PARTS)),
    required=True,
    multiple=True,
    help="The stage that needs the rights; repeatable.",
)
@click.option("--principal", metavar="User:NAME", help="Who gets them.  [default: User:lanner-PART]")
@click.option("--dry-run", is_flag=True, help="Print what would be granted, without contacting a broker.")
@click.option("--kafka-acls", is_flag=True, help="Print commands for kafka-acls.sh instead.")
def grant_rights(
    options: Options,
    parts: tuple[str, ...],
    principal: str | None,
    dry_run: bool,  # noqa: FBT001  flags
    kafka_acls: bool,  # noqa: FBT001
) -> None:
    """Grant stages of the fleet the rights they need at the broker, and no others.

    Run it as a super user of the broker. Existing rights are never revoked. To enforce rights, the broker needs an
    authorizer and allow.everyone.if.no.acl.found=false: see docs/kafka.md. Topics of json_sources and
    kubernetes_audit.topic are included.
    """
    settings = options.settings()
    if principal is not None and len(set(parts)) > 1:
        raise click.UsageError("--principal goes with one --for: use a command for each stage.")
    if principal is not None and (not principal.startswith("User:") or principal in ("User:", "User:*")):
        raise BadInput(
            f"--principal: {principal!r} is not a valid principal: use User:NAME, the client's name at the broker."
        )
    granted = {principal or f"User:lanner-{part}": _grants(part, settings) for part in parts}
    prefix, servers = settings.kafka.prefix, settings.kafka.bootstrap_servers
    if kafka_acls:
        for who, grants in granted.items():
            sys.stdout.writelines(f"{line}\n" for line in commands(grants, prefix, who, servers))
        return
    if not dry_run:
        need("processor", "confluent_kafka")
        from bus.administration import Administration

        administration = Administration(reachable_connection(settings))
        for who, grants in granted.items():
            administration.allow(grants, who)
    rows = [(who, *_row(each, prefix)) for who, grants in granted.items() for each in grants]
    if settings.json_output:
        fields = ("principal", "resource", "name", "pattern", "operation")
        sys.stdout.write(json.dumps([dict(zip(fields, row, strict=True)) for row in rows]) + "\n")
        return
    verb = "would allow" if dry_run else "allowed"
    for each in granted:
        print_table(
            (each, "", "", ""),
            [
                (verb, operation, kind, f"{name}*" if pattern == "prefixed" else name)
                for who, kind, name, pattern, operation in rows
                if who == each
            ],
        )


def _grants(part: str, settings: Settings) -> tuple[Grant, ...]:
    """Return the rights of a part, with those on topics that the settings name."""
    audit = settings.kubernetes_audit.topic
    # With addresses of its own, the topic is at another broker, where these commands grant nothing.
    is_here = audit.name is not None and audit.bootstrap_servers is None
    return (
        *PARTS[part],
        *json_source_grants(part, json_topic_names(settings.json_sources)),
        *(audit_topic_grants(part, audit.name or "", audit.group) if is_here else ()),
    )


def _row(grant: Grant, prefix: str) -> tuple[str, str, str, str]:
    pattern = "prefixed" if grant.is_prefix else "literal"
    return grant.resource.lower(), grant.full_name(prefix), pattern, grant.operation.lower()


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
def create_topics(
    options: Options, partitions: int, replication_factor: int, events_retention: int, *, dry_run: bool
) -> None:
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
        rows = [
            {
                "topic": each.name,
                "state": states[each.name],
                "partitions": each.partitions,
                "replication": each.replication,
                "config": dict(each.config),
            }
            for each in plans
        ]
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
        from bus.clients.availability import check_reachable

        check_reachable(connection)
    except BusUnavailable as error:
        return error
    return None


def _retention(each: TopicPlan) -> str:
    if each.kind.cleanup == "compact":
        return "newest of each key"
    retention = int(each.config["retention.ms"]) * UNITS["ms"]
    return duration_text(retention, "h" if retention < 2 * UNITS["d"] else "d")
