import json
import uuid
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import ALERT_SCHEMA, Alert, BadAlert, alert_id, bounded, decode_alert, encode_alert
from schemas.encoding.wire import HEADER_SIZE, MessageFormat, checked_schema
from schemas.limits import MAX_TEXTS_BYTES
from tests.golden.messages import alert_0_1, alert_0_3, golden_message

value = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.text(st.characters(codec="utf-8")),
    st.lists(st.text(st.characters(codec="utf-8")), max_size=3).map(tuple),
)
texts = st.text(st.characters(codec="utf-8"))
alerts = st.builds(
    Alert,
    id=texts,
    time=st.integers(0, 2**62),
    rule=texts,
    priority=texts,
    output=texts,
    output_fields=st.dictionaries(texts, value, max_size=4),
    tags=st.lists(texts, max_size=3).map(tuple),
    source=texts,
    hostname=texts,
    host_id=texts,
    cluster_name=texts,
    description=texts,
    response=texts,
    event=st.dictionaries(texts, value, max_size=4),
)


@given(alerts)
def test_an_alert_comes_back_as_it_was(alert: Alert) -> None:
    """Alerts with valid text survive a round trip."""
    assert decode_alert(encode_alert(alert)) == alert


def test_the_alert_of_release_0_1_is_read_for_ever() -> None:
    """Alerts of an earlier release are decoded."""
    assert decode_alert(golden_message("alert-0.1")) == alert_0_1()
    assert decode_alert(golden_message("alert-0.2")) == replace(alert_0_1(), cluster_name="Köln-1")
    assert decode_alert(golden_message("alert-0.3")) == alert_0_3()


def test_a_reader_of_an_earlier_release_reads_alerts_with_the_texts_of_rules() -> None:
    """Once it has looked the writer's schema up, it leaves out the fields that it doesn't know."""
    former = MessageFormat(json.loads(files("schemas").joinpath("alert.0.2.avsc").read_text(encoding="utf-8")))
    writer = checked_schema(json.dumps(ALERT_SCHEMA))
    data = encode_alert(alert_0_3())

    assert data.startswith(writer.header)
    read = former.decode(former.translated(data[HEADER_SIZE:], writer))
    assert decode_alert(former.encode(read)) == replace(alert_0_3(), description="", response="")


def test_texts_of_rules_are_bounded_like_all_others() -> None:
    """A message may have texts of any length."""
    alert = bounded(Alert("i", 1, "r", "Notice", "", {}, description="d" * (2 << 20), response="r" * (2 << 20)))

    assert len(alert.description) < 1 << 20
    assert len(encode_alert(alert)) <= MAX_TEXTS_BYTES


def test_the_cluster_of_an_alert_is_that_of_its_pod_or_the_configured_one() -> None:
    """Without either, the alert stays as it is."""
    alert = Alert("i", 1, "r", "Notice", "", {})
    assert alert.in_cluster("") is alert
    assert alert.in_cluster("west").cluster_name == "west"
    assert replace(alert, event={"k8s.cluster.name": "east"}).in_cluster("west").cluster_name == "east"


def test_bytes_that_are_no_text_become_the_replacement_character() -> None:
    """Undecodable text is replaced; it does not break the encoding."""
    alert = Alert("i", 1, "r", "Notice", "a\udcff", {"fd.name": "\udcff"})

    assert decode_alert(encode_alert(alert)).output == "a\ufffd"


def test_a_number_beyond_64_bits_becomes_text() -> None:
    """Integers beyond Avro's long become text."""
    alert = Alert("i", 1, "r", "Notice", "", {"fd.ino": 2**63})

    assert decode_alert(encode_alert(alert)).output_fields == {"fd.ino": str(2**63)}


@given(st.binary())
def test_other_bytes_are_refused(data: bytes) -> None:
    """Arbitrary bytes raise BadAlert with a reason."""
    with pytest.raises(BadAlert):
        decode_alert(data)


def test_an_id_is_a_version_8_uuid_that_begins_with_the_time() -> None:
    """The id has the version and variant of RFC 9562, and begins with the time."""
    made = uuid.UUID(alert_id(1_795_530_690_479_846_943, "rule", "host", 3))

    assert made.version == 8
    assert made.variant == uuid.RFC_4122
    assert made.int >> 80 == 1_795_530_690_479


def test_the_parts_of_a_cause_do_not_run_together() -> None:
    """The causes ("ab", "c") and ("a", "bc") have different ids."""
    assert alert_id(1, "ab", "c") != alert_id(1, "a", "bc")
