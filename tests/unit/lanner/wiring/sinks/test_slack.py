from pathlib import Path

import pytest

from lanner.errors import BadInput
from lanner.settings import load_settings
from lanner.wiring.sinks.registry import open_sink


@pytest.mark.parametrize("url", ["https://hooks.slack.com/services/x", "http://127.0.0.1:8080/x", "http://localhost/x"])
def test_a_webhook_is_encrypted_or_on_this_host(url: str, tmp_path: Path) -> None:
    """The URL is a secret, so it must not cross a network in the clear."""
    settings = load_settings(None, {}, [f"notifier.state_dir={tmp_path}"])
    open_sink(settings, "slack", environment={"LANNER_SLACK_WEBHOOK_URL": url}).close()


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/services/x",
        "http://127.0.0.1.example.com/x",
        "http://127.0.0.1@example.com/x",
        "http://[127.0.0.1/x",
    ],
)
def test_an_unencrypted_webhook_elsewhere_is_refused(url: str) -> None:
    """The loopback address may also begin a longer name or be a user name. The variable that it is from is named."""
    with pytest.raises(BadInput, match=r"^\$LANNER_SLACK_WEBHOOK_URL: it does not hold an https:// URL"):
        open_sink(load_settings(None, {}), "slack", environment={"LANNER_SLACK_WEBHOOK_URL": url})
