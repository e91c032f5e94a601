"""`lanner topics acls`: grants each stage of a fleet the rights it needs."""

import json
import sys

import click

from bus.acls import PARTS, Grant, audit_topic_grants, commands, json_source_grants
from lanner.cli.app import NO_RULES, Options, front_command
from lanner.cli.terminal.tables import print_table
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.settings import Settings
from lanner.settings.sections.sources.json_sources import json_topic_names
from lanner.wiring.kafka import reachable_connection


@front_command(
    "acls",
    example="lanner topics acls --for collector --dry-run\n"
    "lanner topics acls --for notifier --principal User:notifier-eu\n"
    "lanner topics acls --for processor --kafka-acls > acls.sh",
    without=NO_RULES,
)
@click.option("--for", "part", type=click.Choice(list(PARTS)), required=True, help="The stage that needs the rights.")
@click.option("--principal", metavar="User:NAME", help="Who gets them.  [default: User:lanner-PART]")
@click.option("--dry-run", is_flag=True, help="Print what would be granted, without contacting a broker.")
@click.option("--kafka-acls", is_flag=True, help="Print commands for kafka-acls.sh instead.")
def command(options: Options, part: str, principal: str | None, dry_run: bool, kafka_acls: bool) -> None:  # noqa: FBT001  flags
    """Grant a stage of the fleet the rights it needs at the broker, and no others.

    Run it as a super user of the broker. Existing rights are never revoked. To enforce rights, the broker needs an
    authorizer and allow.everyone.if.no.acl.found=false: see docs/kafka.md. Topics of json_sources and
    kubernetes_audit.topic are included.
    """
    settings = options.settings()
    who = principal or f"User:lanner-{part}"
    if not who.startswith("User:") or who in ("User:", "User:*"):
        raise BadInput(
            f"--principal: {who!r} is not a valid principal: use User:NAME, the client's name at the broker."
        )
    grants = _grants(part, settings)
    prefix, servers = settings.kafka.prefix, settings.kafka.bootstrap_servers
    if kafka_acls:
        sys.stdout.writelines(f"{line}\n" for line in commands(grants, prefix, who, servers))
        return
    if not dry_run:
        need("processor", "confluent_kafka")
        from bus.administration import Administration

        Administration(reachable_connection(settings)).allow(grants, who)
    verb = "would allow" if dry_run else "allowed"
    rows = [_row(each, prefix) for each in grants]
    if settings.json_output:
        fields = ("resource", "name", "pattern", "operation")
        sys.stdout.write(json.dumps([{"principal": who, **dict(zip(fields, row, strict=True))} for row in rows]) + "\n")
    else:
        print_table(
            (who, "", "", ""),
            [(verb, operation, kind, _shown(name, pattern)) for kind, name, pattern, operation in rows],
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


def _shown(name: str, pattern: str) -> str:
    return f"{name}*" if pattern == "prefixed" else name
