"""What the tutorials show without the kernel is true, and the runner notices what isn't."""

import re
from pathlib import Path

import pytest

from tests.live.notifier.slack_server import SlackServer
from tests.tutorials import PAGES, Reader, blocks

WEBHOOK = "https://hooks.slack.com/services/T0000/B0000/your-own"
ID = "01a21b55-2bbe-8d2a-9f0e-1c6f4a7d3b21"


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: str(page.stem))
def test_every_block_of_a_tutorial_is_run(page: Path) -> None:
    """Fenced blocks, that is; indented ones are for what a test must not do."""
    text = page.read_text()

    assert len(blocks(text)) == len(re.findall(r"^```\w+$", text, re.MULTILINE)) > 0


@pytest.mark.parametrize("name", ["first-alert", "own-rule"])
def test_a_tutorial_works_as_far_as_it_needs_no_kernel(name: str, tmp_path: Path) -> None:
    """The rest runs under tests/live."""
    with Reader(tmp_path) as reader:
        reader.follow((PAGES / f"{name}.md").read_text(), live=False)


def test_the_tutorial_on_actions_goes_from_would_to_an_accepted_do(tmp_path: Path) -> None:
    """On recorded actions in place of a month's archive."""
    recorded = {"/var/lib/lanner-archive": f"{Path('rules/acts.avro').resolve()}", "--since 30d": "--since 2026-01-01"}
    with Reader(tmp_path, replaced=recorded, columns=110) as reader:
        reader.follow((PAGES / "would-to-do.md").read_text(), live=False)


def test_the_slack_tutorial_sends_its_test_alert(tmp_path: Path) -> None:
    """One message, to a server on this machine that answers as Slack does."""
    server = SlackServer()
    try:
        with Reader(tmp_path, replaced={WEBHOOK: server.webhook}) as reader:
            reader.follow((PAGES / "slack.md").read_text(), live=False)
    finally:
        server.close()

    [message] = server.posted
    assert "Lanner test alert" in message["text"]


def run(command: str, output: str) -> str:
    """Return a page with one command."""
    return f"# A page\n\n<!-- run -->\n```console\n$ {command}\n{output}\n```\n"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("one  two", "one two"),
        ("at 10:11:12.345 on 2026-01-02", "at 01:02:03 on 2025-11-12"),
        ("1 failed in 0.52 s, 4711 events", "1 failed in 12 ms, 1,234 events"),
        ("1\n2\n3\nend", "1\n…\nend"),
        ("1\nend", "1\n…\nend"),
        ("kernel 6.1.0-28", "kernel …"),
        (f"{ID} {ID}", "11111111-2222-3333-4444-555555555555 11111111-2222-3333-4444-555555555555"),
    ],
)
def test_what_differs_between_machines_may_differ(printed: str, shown: str, tmp_path: Path) -> None:
    """Times, dates, durations, large numbers, ids, and what the page leaves out."""
    command = "printf '%b\\n' '" + printed.replace("\n", "\\n") + "'"
    with Reader(tmp_path) as reader:
        reader.follow(run(command, shown), live=False)


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("two", "one"),
        ("one\ntwo", "one"),
        ("1 failed in 0.5 s", "2 failed in 0.5 s"),
        (f"{ID} {ID[:-1]}2", f"{ID} {ID}"),
    ],
)
def test_output_that_the_page_does_not_show_is_an_error(printed: str, shown: str, tmp_path: Path) -> None:
    """With the line of the page, the command, and both texts."""
    command = "printf '%b\\n' '" + printed.replace("\n", "\\n") + "'"
    with Reader(tmp_path) as reader, pytest.raises(AssertionError, match=r"(?s)line 3: .*--- expected.*--- printed"):
        reader.follow(run(command, shown), live=False)


def test_an_id_of_an_earlier_output_stands_for_the_same_id_later(tmp_path: Path) -> None:
    """In commands as in outputs."""
    page = run(f"echo {ID.replace('0', '1')}", ID) + run(f"echo is {ID}", f"is {ID}")
    for name in ("same", "other"):
        (tmp_path / name).mkdir()

    with Reader(tmp_path / "same") as reader:
        reader.follow(page, live=False)
    with Reader(tmp_path / "other") as reader, pytest.raises(AssertionError, match="is 0"):
        reader.follow(page.replace("echo is", "echo is 0"), live=False)
