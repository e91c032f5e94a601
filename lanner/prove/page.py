"""Makes one HTML page of results, which loads nothing: it can be sent, and opened without a network."""

from collections.abc import Sequence
from importlib.resources import files

from markupsafe import Markup

from lanner import __version__
from lanner.console.server.rendering import templates
from lanner.prove.grades import Status, TestResult, by_technique, counts
from schemas.catalog.attack import TECHNIQUES

MEANINGS: dict[Status, str] = {
    "technique": "alert of the test's technique",
    "alert": "alert of another technique",
    "telemetry": "events, no alert",
    "no telemetry": "no event that a rule uses",
    "not run": "not run",
}
_COLORS: dict[Status, str] = {"technique": "new", "alert": "p5", "telemetry": "p4", "no telemetry": "p3", "not run": ""}


def html_page(results: Sequence[TestResult], where: str, made: int) -> str:
    """Return the page.

    Args:
        results: of all tests.
        where: the host and what the tests ran in.
        made: when the run ended, µs since the epoch.
    """
    techniques = [
        {
            "id": technique,
            "name": TECHNIQUES[technique].name if technique in TECHNIQUES else "",
            "numbers": counts(found),
            "results": found,
        }
        for technique, found in by_technique(results).items()
    ]
    style = files("lanner.console.pages").joinpath("static/console.css").read_text()
    page = templates({"version": __version__}).get_template("proof.html")
    return page.render(
        style=Markup(style),  # noqa: S704  our own file
        where=where,
        made=made,
        totals=counts(results),
        meanings=MEANINGS,
        colors=_COLORS,
        techniques=techniques,
    )
