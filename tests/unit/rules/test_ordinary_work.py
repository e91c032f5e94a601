"""The shipped rules are quiet on recorded ordinary work, and the recordings reveal nothing about our machine."""

import re
from pathlib import Path

import pytest

from bench.noise.count import Noise, batches_of, compiled_rules, count_noise, recordings_in
from tests.unit.rules.shipped import RULES
from tests.unit.rules.test_shipped_recording import texts

RECORDINGS = recordings_in(Path(__file__).parents[2] / "recordings/ordinary")
FOREIGN = re.compile(
    r"(?<!/lib)(?<!/srv)/work/(?!work$|(work/)?#)|\.pyenv|\.cargo|tests\.live|pytest|/lanner-"
    r"|https?://(?!127\.0\.0\.1|169\.254\.169\.254|[a-z]+\.example\.com/)"
    r"|(?<!unzipped)/home/(?!dev|admin|guest|worker|operator|node_modules|\.)"
)

MEANT = {(kind, "Manage accounts") for kind in ("cloud", "deploys", "logins")}
"""Kinds of work and rules whose alerts are meant: accounts are created by hand."""


@pytest.fixture(scope="module")
def noise() -> Noise:
    """Evaluate the enabled shipped rules on all recordings."""
    noise = count_noise(RECORDINGS, compiled_rules([RULES]))
    noise.alerts = [(kind, alert) for kind, alert in noise.alerts if (kind, alert.rule) not in MEANT]
    return noise


def test_at_most_one_alert_an_hour_is_above_notice(noise: Noise) -> None:
    """On all kinds of work together."""
    assert len(noise.above_notice) <= noise.hours, list(noise.table())


def test_fewer_than_five_alerts_in_all(noise: Noise) -> None:
    """Whatever their priority."""
    assert len(noise.alerts) < 5, list(noise.table())


def test_the_recordings_hold_hours_of_many_kinds(noise: Noise) -> None:
    """Being quiet on nothing would prove nothing."""
    assert len(RECORDINGS) >= 30
    assert noise.hours >= 2
    assert noise.events > 10_000


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.name.partition(".")[0])
def test_they_name_no_machine(path: Path) -> None:
    """Host, boot and paths are nobody's; environment variables were never collected."""
    batches = list(batches_of(path))

    assert {(batch.host_id, batch.hostname) for batch in batches} == {("0" * 32, "example")}
    assert all(process.env is None for batch in batches for process in batch.processes)
    assert [text for text in sorted(texts(batches)) if FOREIGN.search(text)] == []
