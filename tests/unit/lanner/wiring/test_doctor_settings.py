import os
import re
import socket
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.settings.sections.services import Http
from lanner.settings.sections.sinks import FileOutput, SlackOutput
from lanner.wiring.check import remarks, settings_findings


def states(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return state and text of each finding, by subject."""
    return {each.subject: (each.state, each.found) for each in settings_findings(settings)}


def test_default_settings_need_no_broker_and_have_rules() -> None:
    """It is stated how to see the rules that are off, and how to turn them on."""
    found = states(Settings())

    assert found["rules"][0] == "ok"
    assert re.fullmatch(r"\d+ rules from rules/ active, \d+ off .+rules list --disabled.+enable.+", found["rules"][1])
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
    assert found["Kafka"] == ("missing", f"no answer from a broker at 127.0.0.1:{port} (Connection refused)")
    assert not log.exists()


def test_a_port_that_another_process_uses_is_missing() -> None:
    """A free one is not; a port that no setting names isn't looked at."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        found = states(replace(Settings(), http=Http(listen=str(port))))
        assert found["http.listen"][0] == "missing"
        assert f"(pid {os.getpid()}, " in found["http.listen"][1]
    assert states(replace(Settings(), http=Http(listen=str(port))))["http.listen"] == ("ok", f"port {port} is free")


def test_a_new_folder_and_a_secret_for_everyone_are_remarked(tmp_path: Path) -> None:
    """They are allowed, and rarely meant."""
    secret = tmp_path / "token"
    secret.write_text("made-up")
    secret.chmod(0o644)
    settings = replace(
        Settings(),
        file_output=FileOutput(enabled=True, filename=str(tmp_path / "lannr" / "alerts.log")),
        slack_output=SlackOutput(token_file=str(secret)),
    )
    assert list(remarks(settings)) == [
        f"sink file: {tmp_path}/lannr/alerts.log: its folder does not exist and will be made: is the name right?",
        f"slack_output.token_file: {secret}: every user can read it (mode 0644): chmod 600.",
    ]


def test_what_answers_instead_of_a_broker_is_named() -> None:
    """The client takes the beginning of its answer for a length."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        servers = f"127.0.0.1:{server.getsockname()[1]}"
        found = states(replace(Settings(), kafka=KafkaSettings(bootstrap_servers=servers)))
        assert found["Kafka"] == ("missing", f"what answers at {servers} is not a Kafka broker: it speaks HTTP")
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
