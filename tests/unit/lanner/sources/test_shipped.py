import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanner.sources import installed
from lanner.sources.installed import built_in_source, shipped_mapping
from processor.fields.availability import WHY_NOT
from processor.fields.json.documents import event_of
from processor.fields.json.parsing import parse
from schemas.catalog.fields import FIELDS, MAPPED, has_field
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


def _members(name: str) -> Iterator[str]:
    """Yield the names of members in the paths of a shipped mapping."""
    file = Path(installed.__file__).parent / "shipped" / f"{name}.yaml"
    return (part for path in re.findall(r"/[\w/*]+", file.read_text()) for part in path.split("/") if part.isalpha())


_NAMES = sorted({part for name in MAPPED for part in _members(name)})
_documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["User", "Root"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=8),
    max_leaves=30,
)


@pytest.mark.parametrize("name", MAPPED)
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), _documents, max_size=12))
def test_any_document_is_evaluated(name: str, document: dict[str, object]) -> None:
    """Nothing that members hold makes a field raise, or gives it a value of another type."""
    source = built_in_source(name)
    event = event_of(parse(json.dumps(document).encode())[0], 0, None, source, otherwise=1)

    for field, spec in FIELDS.items():
        if has_field(name, spec):
            value = event[f"{field}[1]" if spec.argument == "required" else field]
            kinds: type | tuple[type, ...] = tuple if spec.is_list else int if spec.type == "UINT64" else (str, int)
            assert value is None or isinstance(value, kinds)
