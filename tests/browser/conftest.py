from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from lanner.console.accounts import Accounts
from lanner.wiring.stages.console import PEOPLE
from tests.browser.visits import Visit
from tests.unit.lanner.console.server.running import Served

CHROMIUM = "/usr/bin/chromium-headless-shell"
SECONDS = 20
"""How long a page may take to show something on a busy machine."""
Serve = Callable[..., Served]
Visiting = Callable[..., Visit]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Start Debian's browser, once for the tests of this folder."""
    expect.set_options(timeout=SECONDS * 1000)
    # Only as long as this folder's tests run: Playwright's event loop stays in the thread.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts a console; stop all at the end."""
    started: list[Served] = []

    def make(*flags: str, **options: object) -> Served:
        made = Served(tmp_path / "console", *flags, **options)  # type: ignore[arg-type]
        started.append(made)
        return made

    yield make
    for each in started:
        each.stop()


@pytest.fixture
def token(tmp_path: Path) -> str:
    """Return a viewer's token, made before the console starts, which then requires it."""
    (tmp_path / "console").mkdir()
    accounts = Accounts(tmp_path / "console" / PEOPLE)
    made = accounts.create_token("alice", "viewer", 0)
    accounts.close()
    return made


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visiting]:
    """Return a function that opens an empty page in a new profile; no visit may have had a problem at the end."""
    visits: list[Visit] = []

    def begin(served: Served, **options: object) -> Visit:
        context = chromium.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(SECONDS * 1000)
        begun = Visit(context, f"http://127.0.0.1:{served.port}")
        visits.append(begun)
        return begun

    yield begin
    for each in visits:
        each.page.context.close()
    assert [problem for each in visits for problem in each.problems] == []
