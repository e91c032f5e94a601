import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import published_rules
from schemas.encoding.wire import MessageFormat, single_object_header
from schemas.published_rules import (
    FORMAT_1,
    FORMAT_1_SCHEMA,
    MAX_BYTES,
    PUBLISHED_RULES_SCHEMA,
    BadRules,
    PublishedFile,
    PublishedRules,
    PublishedSwitch,
    decode_rules,
    encode_rules,
    is_version,
    safe_names,
)
from tests.golden.messages import golden_message, published_rules_0_1

NOW = 1_796_000_000_000_000_000
RULES = PublishedRules(
    files=(PublishedFile("b.yaml", b"- rule: \xff"), PublishedFile("a.yml", b"")),
    switches=(PublishedSwitch(enable=False, by="tag", pattern="x"),),
    priority="notice",
    publisher="alice",
    host="ops",
    comment="why",
    difference=("+ rule X added",),
).named(NOW)


def test_a_version_comes_back_as_it_was() -> None:
    """Order and bytes of the files, and the publisher, survive a round trip."""
    assert decode_rules(encode_rules(RULES)) == RULES
    assert is_version(RULES.version)


def test_a_later_version_has_a_later_name_whatever_the_clock_states() -> None:
    """A new version is later than the newest one even if the publisher's clock is behind."""
    behind = RULES.named(NOW - 10**12, newest=RULES.published)
    assert behind.published > RULES.published
    ahead = RULES.named(NOW + 10**12)
    assert ahead.version > RULES.version


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": ()}, "no files"),
        ({"files": (PublishedFile("../x.yaml", b""),)}, "named"),
        ({"files": (PublishedFile("/etc/x.yaml", b""),)}, "named"),
        ({"files": (PublishedFile(".x.yaml", b""),)}, "named"),
        ({"files": (PublishedFile("x.yaml\n", b""),)}, "named"),
        ({"files": (PublishedFile("x.sh", b""),)}, "named"),
        ({"files": (PublishedFile("x.yaml", b""), PublishedFile("x.yaml", b""))}, "the same name"),
        ({"files": (PublishedFile("x.yaml", bytes(MAX_BYTES + 1)),)}, "bytes"),
        ({"files": tuple(PublishedFile(f"{n}.yaml", b"") for n in range(1001))}, "1001 files"),
        ({"comment": "x" * 501}, "500 characters"),
        ({"difference": ("x",) * 300}, "too many"),
        ({"published": 2**62}, "not a valid time"),
    ],
)
def test_what_no_publisher_makes_is_refused(change: dict[str, object], reason: str) -> None:
    """Both encoding and decoding reject it."""
    with pytest.raises(BadRules, match=reason):
        encode_rules(dataclasses.replace(RULES, **change))  # type: ignore[arg-type]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_make_decoding_raise_anything_else(tail: bytes, stored: int) -> None:
    """Arbitrary bytes raise only BadRules."""
    whole = encode_rules(RULES)
    for data in (tail, whole[:stored] + tail, whole[: stored % len(whole)]):
        # What follows the whole is of fields to come.
        if not data.startswith(whole):
            with contextlib.suppress(BadRules):
                assert decode_rules(data) != RULES


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_any_names_become_safe_ones(names: list[str]) -> None:
    """Names of any directory become safe and unique."""
    safe = safe_names(names)
    files = tuple(PublishedFile(name, b"") for name in safe)
    assert len(set(safe)) == len(names)
    assert decode_rules(encode_rules(dataclasses.replace(RULES, files=files))).files == files


def test_a_golden_version_decodes_and_is_what_is_written() -> None:
    """The first release's fields keep their order and encoding."""
    golden = golden_message("published_rules-0.1")
    assert decode_rules(golden) == published_rules_0_1()
    assert encode_rules(published_rules_0_1()) == golden


def test_a_message_begins_with_the_fingerprint_of_the_first_schema() -> None:
    """Later fields follow the first ten, each with a default."""
    fields = PUBLISHED_RULES_SCHEMA["fields"]
    assert single_object_header(FORMAT_1_SCHEMA) == FORMAT_1
    assert all("default" in each for each in fields[10:])


@pytest.mark.parametrize("also", [{"colour": "red"}, {"colour": "", "sizes": [1, 2, 3]}])
def test_fields_that_a_later_release_adds_are_left_out(also: dict[str, object]) -> None:
    """A message of the next release is readable; its new fields are ignored."""
    types = {"colour": "string", "sizes": {"type": "array", "items": "long"}}
    further = [{"name": name, "type": types[name]} for name in also]
    later = MessageFormat({**PUBLISHED_RULES_SCHEMA, "fields": [*PUBLISHED_RULES_SCHEMA["fields"], *further]})
    message = later.encode(dataclasses.asdict(RULES) | also)
    assert decode_rules(FORMAT_1 + message[len(later.header) :]) == RULES


def test_a_field_that_this_release_added_has_its_default_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of the previous release is readable; missing fields get defaults."""
    added = {"name": "added", "type": "long", "default": 7}
    module = "schemas.published_rules"
    monkeypatch.setattr(f"{module}._FIELDS", [*published_rules._FIELDS, ("added", "long", added)])
    made = dataclasses.make_dataclass("Later", [("added", int)], bases=(PublishedRules,), kw_only=True, frozen=True)
    monkeypatch.setattr(f"{module}.PublishedRules", made)
    assert decode_rules(golden_message("published_rules-0.1")).added == 7  # type: ignore[attr-defined]


def test_another_format_is_refused_with_what_to_do() -> None:
    """An unknown format has its own message, different from that for arbitrary bytes."""
    with pytest.raises(BadRules, match=r"doesn't know \(fingerprint 0123456789abcdef\): upgrade"):
        decode_rules(bytes.fromhex("c3010123456789abcdef") + b"new")
    with pytest.raises(BadRules, match="do not have the header of a version"):
        decode_rules(b"{}")


def test_names_stay_as_they_are_where_they_can() -> None:
    """Names stay unchanged as far as possible, so that people recognize them in messages."""
    assert safe_names(["falco_rules.yaml", "own.yml", "falco_rules.yaml", "my rules.yaml"]) == [
        "falco_rules.yaml",
        "own.yaml",
        "falco_rules-2.yaml",
        "my_rules.yaml",
    ]
