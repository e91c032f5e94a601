import pytest

from processor.fields.event import registered_domain


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
