import pytest

from lanner.settings.forms import url_template


@pytest.mark.parametrize(
    "url", ["https://siem.example/?q={rule}", "http://siem/{id}#{since_s}/{until}", "https://siem/"]
)
def test_an_address_may_have_values_of_alerts_in_its_path(url: str) -> None:
    """Also in its query and fragment."""
    assert url_template(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert({id})",
        "https://{host}/",
        "https://a.{host}.example/",
        "https://siem/?q={proc}",
        "siem/{id}",
        "https://a:b@siem/{id}",
    ],
)
def test_no_value_of_an_alert_decides_where_an_address_leads(url: str) -> None:
    """Nor is a placeholder without a meaning accepted, or a password."""
    assert url_template(url)
