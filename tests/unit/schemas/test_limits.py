"""Texts of alerts are clipped to the limits, with a mark."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Value, Window, bounded, decode_alert, encode_alert
from schemas.limits import MAX_TEXT_BYTES, Texts, clipped
from tests.unit.alerts import alert
from tests.unit.schemas.batches import TEXT

ALERT_BYTES = 1 << 20
LONG = st.builds(lambda text, times: text * times, TEXT, st.integers(0, 100_000))


@given(LONG, st.integers(100, 100_000))
def test_a_clipped_text_fits_and_states_how_much_is_missing(text: str, most: int) -> None:
    """A text within the limit is unchanged; clipping never splits a character."""
    size = len(text.encode("utf-8", "surrogatepass"))
    found = clipped(text, most)
    if size <= most:
        assert found == text
        return
    stored, _, mark = found.rpartition(" [truncated, ")
    assert len(found.encode("utf-8", "surrogatepass")) <= most
    assert int(mark.removesuffix(" more bytes]")) + len(stored.encode("utf-8", "surrogatepass")) == size
    assert clipped(found, most) == found


VALUES: st.SearchStrategy[Value] = (
    LONG | st.integers() | st.booleans() | st.none() | st.lists(LONG, max_size=3).map(tuple)
)
MAPPINGS = st.dictionaries(st.sampled_from([f"field.{number}" for number in range(30)]), VALUES)


@given(LONG, MAPPINGS, MAPPINGS, MAPPINGS, st.booleans())
def test_an_alert_is_bounded_however_its_texts_are_spread(
    output: str, fields: dict[str, Value], event: dict[str, Value], leg: dict[str, Value], has_window: bool
) -> None:
    """No text exceeds 64 KiB and no alert 1 MiB; clipping is idempotent."""
    window = Window(3, 1, 2, {"fd.cip": "10.0.0.1"}, ("a",), {"one": leg, "two": leg}) if has_window else None
    made = alert(output=output, output_fields=fields, event=event, window=window)
    small = bounded(made)
    assert bounded(small) == small
    data = encode_alert(made)
    assert len(data) <= ALERT_BYTES
    assert data == encode_alert(small)
    found = decode_alert(data)
    assert len(found.output.encode()) <= MAX_TEXT_BYTES
    assert found.event.keys() == event.keys()
    texts = [value for value in {**found.event, **found.output_fields}.values() if isinstance(value, str)]
    assert max((len(text.encode()) for text in texts), default=0) <= MAX_TEXT_BYTES


def test_one_long_text_among_short_ones_costs_only_itself() -> None:
    """Other texts are not clipped."""
    found = bounded(alert(event={"proc.cmdline": "A" * 100_000, "fd.name": "/etc/shadow"}))
    assert found.event["fd.name"] == "/etc/shadow"
    assert str(found.event["proc.cmdline"]).endswith("A [truncated, 34527 more bytes]")


def test_a_list_of_many_values_states_how_many_are_missing() -> None:
    """The first values of a list are retained."""
    (value,) = bounded(alert(event={"proc.aname": ("sh",) * 50_000})).event.values()
    assert isinstance(value, tuple)
    assert value[0] == "sh"
    assert value[-1] == f"[truncated, {50_000 - len(value) + 1} more values]"


def test_in_short_an_alert_still_states_what_it_is_about() -> None:
    """Long output fields are clipped; long fields of the event alone are left out."""
    texts = Texts(
        ("A" * 5000,), {"fd.name": "B" * 5000}, {"proc.cmdline": "C" * 5000, "proc.pid": 7, "user.name": "root"}
    )
    short = texts.short()
    assert len(short.texts[0]) <= 1024
    assert len(str(short.fields["fd.name"])) <= 256
    assert short.event == {"proc.pid": 7, "user.name": "root"}
