"""The site is built from the pages, and a mistake in them is not overlooked."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lanner.ruleset.triage import page_name
from processor.loading import load_rules, read_rule_files

ROOT = Path(__file__).parents[2]
RULE = """
- rule: One in {}
  desc: A rule.
  condition: evt.type = execve
  output: "%proc.name"
  priority: NOTICE
"""


def build(sources: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make lint` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=sources,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, "--site-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_outside_docs_are_part_of_the_site(site: Path) -> None:
    """Links in both directions lead to them."""
    assert 'href="contributing.html#the-thirteen-most-common-changes"' in (site / "architecture.html").read_text()
    assert 'href="architecture.html"' in (site / "contributing.html").read_text()
    assert 'href="security.html#evasions-that-stay-open"' in (site / "vulnerabilities.html").read_text()


def test_the_start_page_leads_to_every_page(site: Path) -> None:
    """Only the pages of single rules are further away: the triage page leads to them."""
    start = (site / "index.html").read_text()
    article = start[start.index("<article") :]
    pages = {str(page.relative_to(site)) for page in site.rglob("*.html")}

    missing = {page for page in pages - {"404.html", "index.html"} if f'href="{page}"' not in article}

    assert {page for page in missing if not page.startswith("triage/")} == set()


def test_each_rule_has_a_page(site: Path) -> None:
    """The triage page leads to them, and the navigation has them in the order of the rules."""
    rules = load_rules(read_rule_files([ROOT / "rules", ROOT / "rules" / "kubernetes"])).rules
    pages = [f"triage/{page_name(rule.name)}".replace(".md", ".html") for rule in rules]
    triage = (site / "triage.html").read_text()
    navigation, article = triage[: triage.index("<article")], triage[triage.index("<article") :]

    assert re.findall(r'<a href="(triage/[^"#]+)" class="md-nav__link"', navigation) == pages
    assert re.findall(r'href="(triage/[^"#]+)"', article) == pages
    assert {str(page.relative_to(site)) for page in (site / "triage").iterdir()} == set(pages)
    assert 'href="../triage.html#fields-of-every-alert"' in (site / "triage" / "clear-log-files.html").read_text()


def test_a_link_to_another_file_of_the_repository_becomes_its_path(site: Path) -> None:
    """The site doesn't hold that file."""
    page = (site / "helm.html").read_text()

    assert "one manifest (<code>deploy/kubernetes/lanner.yaml</code>)" in page
    assert 'lanner.yaml"' not in page


def test_pages_load_nothing_from_other_sites(site: Path) -> None:
    """Scripts, styles, fonts and pictures are part of the site."""
    loaded = [
        link
        for page in site.rglob("*.html")
        for link in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"', page.read_text())
    ]

    assert loaded == []


def test_mistakes_fail_the_build(tmp_path: Path) -> None:
    """It reports all of them: links that lead nowhere, and a page that the navigation lacks."""
    for name in ("docs", "deploy/docs", "deploy/compose", "deploy/helm/lanner"):
        shutil.copytree(ROOT / name, tmp_path / name)
    # A page for each shipped rule would take most of the time.
    for folder in ("rules", "rules/kubernetes"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.yaml").write_text(RULE.format(folder))
    for name in ("mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs" / "settings.md").write_text("[The fields](fields.md#nothing), [nowhere](nowhere.md)")
    (tmp_path / "docs" / "unlisted.md").write_text("# A page\n")

    done = build(tmp_path)

    assert done.returncode == 1
    assert "does not contain an anchor '#nothing'" in done.stderr
    assert "nowhere.md" in done.stderr
    assert "unlisted.md" in done.stderr
