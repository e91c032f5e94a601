import json
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lanner.console.accounts import read_listed

FOLDER = Path("deploy/compose")
TEXT = (FOLDER / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
UNPRIVILEGED = (
    "topics",
    "processor",
    "notifier-syslog",
    "notifier-siem",
    "notifier-slack",
    "console",
    "archive",
    "kubernetes-audit",
)


def test_every_variable_is_in_the_readme() -> None:
    """Nobody has to read the compose file to learn what can be set."""
    variables = set(re.findall(r"\$\{(LANNER_\w+)", TEXT))
    assert len(variables) > 20
    assert variables == set(re.findall(r"LANNER_[A-Z]\w+", (FOLDER / "README.md").read_text())) - {
        "LANNER__KAFKA__BOOTSTRAP_SERVERS",
        "LANNER_KAFKA_PASSWORD",
    }


def test_every_image_is_a_variable_with_a_version() -> None:
    """Another registry or version needs no other file, and no image changes by itself."""
    for name, service in SERVICES.items():
        assert re.fullmatch(r"\$\{LANNER_\w+_IMAGE:-[\w./-]+:v?\d[\w.-]*\}", service["image"]), name


def test_nobody_comes_to_the_broker_without_a_password_of_its_own() -> None:
    """Each stage has its own user and sees its own secrets; the broker lets in nobody else, and rules are signed."""
    broker = SERVICES["kafka"]["environment"]
    listeners = dict(each.split(":", 1) for each in broker["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    open_ones = [name for name, protocol in listeners.items() if "SASL" not in protocol]
    assert open_ones == ["CONTROLLER"]
    assert "CONTROLLER://localhost:" in broker["KAFKA_LISTENERS"]
    assert [port.rpartition(":")[2] for port in SERVICES["kafka"]["ports"]] == ["9094", "9096"]
    # A password that is sent as it is: encrypted, or within this network.
    plain = {name for name in listeners if broker.get(f"KAFKA_LISTENER_NAME_{name}_SASL_ENABLED_MECHANISMS") == "PLAIN"}
    assert {name: listeners[name] for name in plain} == {"READERS": "SASL_SSL", "ADMIN": "SASL_PLAINTEXT"}
    assert "READERS://:9096,ADMIN://:9095," in broker["KAFKA_LISTENERS"]
    assert broker["KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND"] == "false"
    for name in (*UNPRIVILEGED[1:], "collector", "publish", "operator"):
        service = SERVICES[name]
        user = service["environment"]["LANNER__KAFKA__USERNAME"].removeprefix("lanner-")
        seen = [volume for volume in service["volumes"] if volume.startswith("secrets-")]
        part = {"publish": "publisher", "kubernetes-audit": name}.get(name, name.split("-")[0])
        assert (user, seen) == (part, [f"secrets-{part}:/run/lanner:ro"])
        assert service["environment"]["LANNER__KAFKA__SECURITY_PROTOCOL"].endswith(":-sasl_plaintext}")
    assert "PUBLIC_KEY_FILES" in " ".join(SERVICES["processor"]["environment"])


def test_passwords_are_made_once_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is its owner's alone; a second run changes nothing but a password that somebody chose."""
    made = runpy.run_path(str(FOLDER / "credentials.py"))
    make, owners, owned = made["make"], made["OWNERS"], {}
    make.__globals__["FOLDER"] = tmp_path
    monkeypatch.setattr("os.chown", lambda path, user, _: owned.__setitem__(Path(path).parent.name, user))
    monkeypatch.delenv("LANNER_GRAFANA_PASSWORD", raising=False)
    for name in owners:
        (tmp_path / name).mkdir()
    make()
    before = {str(path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    passwords = [text for path, text in before.items() if path.endswith("/password")]
    (token,) = read_listed((tmp_path / "console/tokens").read_text())
    assert (token.name, token.role, token.token in passwords) == ("admin", "analyst", False)
    assert len((tmp_path / "kubernetes-audit/token").read_text()) >= 32
    assert len(set(passwords)) == len(owners)
    assert all(len(each) >= 32 for each in passwords)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o400}
    assert owned == owners
    monkeypatch.setenv("LANNER_GRAFANA_PASSWORD", "chosen")
    make()
    after = {str(path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before[path]} == {str(tmp_path / "grafana/password")}
    users = (tmp_path / "admin/users.properties").read_text().splitlines()[1]
    assert re.findall(r"user_[\w-]+", users) == ["user_lanner-reader"]
    monkeypatch.setenv("LANNER_KAFKA_ADVERTISED", "kafka.example.com")
    make()
    renewed = {path for path, text in after.items() if Path(path).read_text() != text}
    assert renewed == {str(tmp_path / "admin/broker.pem"), str(tmp_path / "reader/certificate")}


@pytest.mark.parametrize("name", [*UNPRIVILEGED, "collector"])
def test_stages_have_no_right_that_they_need_not(name: str) -> None:
    """No capability, no new privileges, nothing to write to; only the collector has some."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    # What makes users at the broker reads their passwords, whose owners are others.
    rights = {"collector": ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"], "topics": ["DAC_OVERRIDE"]}
    assert service.get("cap_add") == rights.get(name)
    assert "privileged" not in service


def test_images_contain_what_they_state() -> None:
    """Processor, notifier, console and archive run as a user without rights."""
    stages = re.split(r"(?m)^FROM ", Path("deploy/images/Dockerfile").read_text())
    of = {match[1]: text for text in stages if (match := re.match(r"\S+ AS (\S+)", text))}
    assert {"collector", "processor", "notifier", "console", "archive", "all-in-one"} <= of.keys()
    assert {name for name, text in of.items() if "USER lanner" in text} == {
        "processor",
        "notifier",
        "console",
        "archive",
    }
    assert {name for name, text in of.items() if "HEALTHCHECK" in text} == {
        "processor",
        "notifier",
        "console",
        "archive",
        "collector",
        "all-in-one",
    }


def test_images_contain_every_package() -> None:
    """What is installed is also sent to the build: a package that is missing there is noticed only when it runs."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    packages = {name.removesuffix("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    sent = {line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert packages <= sent


def test_the_dashboard_has_a_title_and_a_place_for_each_panel() -> None:
    """Ids differ, panels don't overlap, and each names its data source."""
    panels = json.loads(Path("deploy/grafana/dashboards/lanner.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    positions: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & positions
        assert at["x"] + at["w"] <= 24
        positions |= own
        assert panel["title"]
        assert panel["type"] == "row" or panel["datasource"] == {"type": "prometheus", "uid": "prometheus"}


def test_the_console_is_published_on_this_host_and_opens_with_a_token() -> None:
    """Whoever reaches its port needs one."""
    console = SERVICES["console"]
    assert console["ports"] == ["${LANNER_BIND:-127.0.0.1}:${LANNER_CONSOLE_PORT:-8778}:8778"]
    assert console["environment"]["LANNER__CONSOLE__TOKENS_FILE"] == "/run/lanner/tokens"
    assert "console:/var/lib/lanner" in console["volumes"]


def test_the_intake_of_audit_events_is_optional_and_requires_its_token() -> None:
    """It starts with a profile only, and is published on this host."""
    intake = SERVICES["kubernetes-audit"]
    assert intake["profiles"] == ["kubernetes-audit"]
    assert intake["ports"] == ["${LANNER_BIND:-127.0.0.1}:${LANNER_AUDIT_PORT:-8765}:8765"]
    assert intake["environment"]["LANNER__KUBERNETES_AUDIT__TOKEN_FILE"] == "/run/lanner/token"
