import pytest

from processor.fields.event import file_fact, file_time, registered_domain
from schemas.batch import ProgramFile, file_text


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.example.org", "example.org"),
        ("example.org", "example.org"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("example.com.br", "example.com.br"),
        ("a.example.de", "example.de"),
        ("t.co", "t.co"),
        ("localhost", None),
        (None, None),
    ],
)
def test_a_name_has_the_domain_that_somebody_registered(name: str | None, domain: str | None) -> None:
    """Below some names of two labels, others register a third."""
    assert registered_domain(name) == domain


@pytest.mark.parametrize(
    ("text", "origin", "at"),
    [
        (None, None, None),
        ("", None, None),
        ("\0dropped", "dropped", None),
        (file_text(ProgramFile("5a", "dropped", written_by="a b", written_at=7)), "dropped", 7),
        ("\0" * 6 + "1" * 5000, None, None),
        ("\0" * 6 + "9" * 19, None, None),
        ("\0x\0\0\0\0\0-1\0more", "x", None),
        ("\0x\0\0\0\0\0\u0664", "x", None),
    ],
)
def test_facts_about_a_file_are_what_its_host_sent(text: str | None, origin: str | None, at: int | None) -> None:
    """A host may send anything: what isn't there or isn't a valid time is missing."""
    assert file_fact(text, 1) == origin
    assert file_time(text) == at
