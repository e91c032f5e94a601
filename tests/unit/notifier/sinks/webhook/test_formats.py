from notifier.sinks.webhook.formats import SplunkFormat


def test_the_token_is_sent_under_the_scheme_of_splunk() -> None:
    """The collector refuses `Authorization` with any other scheme."""
    assert SplunkFormat().scheme == "Splunk"
