import pytest

from lanner.sources.installed import built_in_source, shipped_mapping
from processor.audit.events import event_of
from processor.fields.availability import WHY_NOT
from schemas.catalogue.fields import FIELDS
from schemas.catalogue.sources import MAPPED
from tests.unit.lanner.sources.documents import INSTANCES, LOCKED, LOGIN, PUSH


@pytest.mark.parametrize("name", MAPPED)
def test_every_field_of_a_shipped_source_is_mapped_or_says_why_not(name: str) -> None:
    """Falco's names are all there, and nothing else."""
    mapping = shipped_mapping(name)
    known = {field for field, spec in FIELDS.items() if spec.family == name}

    assert mapping.specs == ()
    assert set(mapping.fields) == known - WHY_NOT.keys()


@pytest.mark.parametrize(
    ("source", "document", "field", "value"),
    [
        ("github", PUSH, "github.type", "push"),
        ("github", PUSH, "github.repo.name", "acme/app"),
        ("github", PUSH, "github.repo.public", "true"),
        ("github", PUSH, "github.commit.added", "a.py,b.py,c.py"),
        ("github", PUSH, "github.commit.removed", None),
        ("github", PUSH, "github.diff.has_secrets", "true"),
        ("github", PUSH | {"files": []}, "github.diff.has_secrets", "false"),
        ("github", {}, "github.diff.has_secrets", None),
        ("github", PUSH, "github.diff.committed_secrets.lines", "7"),
        ("github", PUSH, "github.diff.committed_secrets.links", None),
        ("github", PUSH, "json.user", "eve"),
        ("aws_cloudtrail", LOGIN, "ct.user", "Admin"),
        ("aws_cloudtrail", LOGIN, "ct.originaluser", "eve"),
        ("aws_cloudtrail", INSTANCES, "ct.originaluser", "eve"),
        ("aws_cloudtrail", {"userIdentity": {"type": "AssumedRole"}}, "ct.user", "AssumedRole"),
        ("aws_cloudtrail", {"userIdentity": {"type": "other"}}, "ct.user", None),
        ("aws_cloudtrail", LOGIN, "ct.shortsrc", "signin"),
        ("aws_cloudtrail", LOGIN, "ct.user.accountid", "123456789012"),
        ("aws_cloudtrail", LOGIN, "ct.readonly", "false"),
        ("aws_cloudtrail", LOGIN, "ct.request", None),
        ("aws_cloudtrail", LOGIN, "ct.response", '{"ConsoleLogin":"Success"}'),
        ("aws_cloudtrail", LOGIN, "ct.info", "Admin via 192.0.2.7: ConsoleLogin"),
        ("aws_cloudtrail", LOGIN, "s3.bytes", 7),
        ("aws_cloudtrail", LOGIN, "s3.bytes.in", 3),
        ("aws_cloudtrail", LOGIN, "s3.cnt.get", None),
        ("aws_cloudtrail", LOGIN, "s3.cnt.other", 1),
        ("aws_cloudtrail", {"eventName": "GetObject"}, "s3.cnt.get", 1),
        ("aws_cloudtrail", {"eventName": "GetObject"}, "s3.cnt.other", None),
        ("aws_cloudtrail", INSTANCES, "s3.uri", "s3://b/k"),
        ("aws_cloudtrail", LOGIN, "s3.uri", None),
        ("aws_cloudtrail", INSTANCES, "ec2.name", "web"),
        ("aws_cloudtrail", INSTANCES, "ec2.imageid", "ami-1"),
        ("aws_cloudtrail", INSTANCES, "ec2.imageids", ("ami-1", "ami-2")),
        ("aws_cloudtrail", INSTANCES, "ec2.imageids[1]", ("ami-2",)),
        ("okta", LOCKED, "okta.actor.name", "Eve"),
        ("okta", LOCKED, "okta.app", "salesforce"),
        ("okta", LOCKED, "okta.client.geo.lat", "52.5"),
        ("okta", LOCKED, "okta.security.asnumber", 64496),
        ("okta", LOCKED, "okta.security.isproxy", "false"),
        ("okta", LOCKED, "okta.target.user.name", "Bob"),
        ("okta", LOCKED, "okta.target.group.id", None),
        ("okta", LOCKED, "okta.targets.displayName", "(Bob,CRM)"),
        ("okta", LOCKED, "okta.targets.displayName[1]", "CRM"),
        ("okta", LOCKED, "okta.targets.displayName[2]", None),
        ("okta", LOCKED, "okta.mfa.failure.countlast[300]", None),
    ],
)
def test_a_field_has_the_value_that_falcos_plugin_gives_it(
    source: str, document: dict[str, object], field: str, value: object
) -> None:
    """What a document lacks is missing."""
    event = event_of(document, 0, None, built_in_source(source), otherwise=1)

    assert event[field] == value
