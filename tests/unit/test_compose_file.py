import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path("deploy/compose")
TEXT = (FOLDER / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
UNPRIVILEGED = ("topics", "processor", "notifier-syslog", "notifier-siem", "notifier-slack")


def test_every_variable_is_in_the_readme() -> None:
    """Nobody has to read the compose file to learn what can be set."""
    variables = set(re.findall(r"\$\{(LANNER_\w+)", TEXT))
    assert len(variables) > 20
    assert variables == set(re.findall(r"LANNER_[A-Z]\w+", (FOLDER / "README.md").read_text())) - {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS",
        "LANNER_KAFKA_PASSWORD",
    }


def test_every_image_is_a_variable_with_a_version() -> None:
    """Another registry or version needs no other file."""
    for name, service in SERVICES.items():
        assert re.fullmatch(r"\$\{LANNER_\w+_IMAGE:-[\w./-]+:[\w.]+\}", service["image"]), name


@pytest.mark.parametrize("name", [*UNPRIVILEGED, "collector"])
def test_stages_have_no_right_that_they_need_not(name: str) -> None:
    """No capability, no new privileges, nothing to write to; only the collector has some."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    rights = ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"] if name == "collector" else None
    assert service.get("cap_add") == rights
    assert "privileged" not in service


def test_images_hold_what_they_say() -> None:
    """Processor and notifier run as a user without rights."""
    stages = re.split(r"(?m)^FROM ", Path("deploy/images/Dockerfile").read_text())
    of = {match[1]: text for text in stages if (match := re.match(r"\S+ AS (\S+)", text))}
    assert {"collector", "processor", "notifier", "all-in-one"} <= of.keys()
    assert {name for name, text in of.items() if "USER lanner" in text} == {"processor", "notifier"}
    assert {name for name, text in of.items() if "HEALTHCHECK" in text} == {
        "processor",
        "notifier",
        "collector",
        "all-in-one",
    }


def test_the_dashboard_has_a_title_and_a_place_for_each_panel() -> None:
    """Ids differ, panels don't overlap, and each says where its data comes from."""
    panels = json.loads(Path("deploy/grafana/dashboards/lanner.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & places
        assert at["x"] + at["w"] <= 24
        places |= own
        assert panel["title"]
        assert panel["type"] == "row" or panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}
