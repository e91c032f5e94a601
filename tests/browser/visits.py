"""Visits to a console in a real browser. A visit notes whatever a well-made page never causes."""

from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, expect

_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


class Visit:
    """One page of a browser, at one console."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        """Open an empty page.

        Args:
            context: of the browser.
            address: of the console, without a slash at its end.
        """
        self.address = address
        self.problems: list[str] = []
        """Dialogs, messages on the console, breaches of the policy, failures of scripts, requests elsewhere."""
        self.page: Page = context.new_page()
        self.page.add_init_script(_REPORT_VIOLATIONS)
        self.page.on("console", self._on_message)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", self._on_request)

    def open(self, path: str) -> Page:
        """Open a path of the console."""
        self.page.goto(f"{self.address}{path}", wait_until="load")
        return self.page

    def is_wider_than_the_window(self) -> bool:
        """Whether the page can be scrolled sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if f"{parts.scheme}://{parts.netloc}" != self.address:
            self.problems.append(f"request: {request.url}")


def settled(page: Page) -> Page:
    """Wait until a page has read all of its parts."""
    expect(page.locator("[aria-busy=true], [data-stop]")).to_have_count(0)
    return page
