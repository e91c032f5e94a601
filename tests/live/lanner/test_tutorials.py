"""Every command of the tutorials, as their readers type it, prints what the pages show."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.notifier.slack_server import SlackServer
from tests.tutorials import PAGES, Reader

pytestmark = pytest.mark.live


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short name, as a reader's has, so that lines break where the pages show it."""
    with tempfile.TemporaryDirectory(prefix="lanner-") as made:
        yield Path(made)


@pytest.mark.parametrize("name", ["first-alert", "own-rule", "incident"])
def test_a_tutorial_works_as_written(name: str, folder: Path) -> None:
    """From the first file to Ctrl-C."""
    with Reader(folder, replaced={"/var/lib/lanner/kept": f"{folder}/.state/kept"}) as reader:
        reader.follow((PAGES / f"{name}.md").read_text(), live=True)


def test_the_alert_of_the_slack_tutorial_is_posted(folder: Path) -> None:
    """To a server on this machine that answers as Slack does."""
    server = SlackServer()
    try:
        with Reader(
            folder, replaced={"https://hooks.slack.com/services/T0000/B0000/your-own": server.webhook}
        ) as reader:
            reader.follow((PAGES / "slack.md").read_text(), live=True)
    finally:
        server.close()

    assert any("Read sensitive file untrusted" in message["text"] for message in server.posted)
