import re
import socket
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.settings.sections.sinks import FileOutput, SlackOutput
from lanner.wiring.check import settings_findings


def states(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return state and text of each finding, by subject."""
    return {each.subject: (each.state, each.found) for each in settings_findings(settings)}


def test_default_settings_need_no_broker_and_have_rules() -> None:
    """The rules that are off are named."""
    found = states(Settings())

    assert found["rules"][0] == "ok"
    assert re.fullmatch(r"\d+ rules from rules/ active, off: Run program .+ and \d+ more", found["rules"][1])
    assert found["sink stdout"][0] == "ok"
    assert found["Kafka"] == ("ok", "not configured, and not needed on one host")


def test_what_the_settings_use_is_checked(tmp_path: Path) -> None:
    """Rule files, sinks, and a broker that refuses; nothing is created."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    log = tmp_path / "alerts.log"
    found = states(
        replace(
            Settings(),
            rules_files=(str(tmp_path / "mine.yaml"),),
            slack_output=SlackOutput(enabled=True),
            file_output=FileOutput(enabled=True, filename=str(log)),
            kafka=KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}"),
        )
    )

    assert found["rules"] == ("missing", f"{tmp_path}/mine.yaml: no such rule file or folder")
    assert found["sink slack"] == ("missing", "slack_output needs a webhook URL or a token")
    assert found["sink file"][0] == "ok"
    assert found["Kafka"] == ("note", f"no answer from a broker at 127.0.0.1:{port} (Connection refused)")
    assert not log.exists()
