"""Builds the connection to Kafka from the settings; secrets come from the environment or files, never from settings."""

import importlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bus.connection import BusUnavailable, Connection, RegistryAddress
from bus.topics import TopicProblem, TopicState, check_topics
from lanner.errors import BadInput
from lanner.libraries import has_module, remedy
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import has_password
from lanner.settings.sections.model import KafkaSettings
from lanner.terminal.output import note


def connection_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> Connection:
    """Return the connection. Raises BadSettings."""
    kafka = settings.kafka
    problems: list[SettingFault] = []
    password = secret("kafka.password_file", "LANNER_KAFKA_PASSWORD", kafka.password_file, environment, problems)
    key_password = secret(
        "kafka.key_password_file", "LANNER_KAFKA_KEY_PASSWORD", kafka.key_password_file, environment, problems
    )
    if kafka.security_protocol in ("sasl_plaintext", "sasl_ssl"):
        if not kafka.username:
            text = f"kafka.username must be set if kafka.security_protocol is {kafka.security_protocol}."
            problems.append(SettingFault("kafka.security_protocol", text, follows=True))
        if not password:
            hint = "set kafka.password_file or $LANNER_KAFKA_PASSWORD"
            problems.append(SettingFault("kafka.security_protocol", "no password for the broker.", hint, follows=True))
    registry = _registry_of(kafka, environment, problems)
    for name in ("ca_file", "certificate_file", "key_file", "schema_registry_ca_file"):
        path = getattr(kafka, name)
        if path and not os.access(path, os.R_OK):
            text = f"kafka.{name}: {path}: missing, or not readable by this user."
            problems.append(SettingFault(f"kafka.{name}", text))
    if problems:
        raise BadSettings(*problems)
    return Connection(
        bootstrap_servers=kafka.bootstrap_servers,
        prefix=kafka.prefix,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        username=kafka.username or "",
        password=password,
        ca_file=kafka.ca_file or "",
        certificate_file=kafka.certificate_file or "",
        key_file=kafka.key_file or "",
        key_password=key_password,
        compression=kafka.compression,
        registry=registry,
    )


def reachable_connection(settings: Settings) -> Connection:
    """Return the connection for a command that a person waits for.

    Raises:
        BadSettings: the settings are wrong.
        BusUnavailable: no broker takes connections, which is known within three seconds.
    """
    connection = replace(connection_of(settings), on_wait=note)
    from bus.clients.availability import check_reachable

    check_reachable(connection)
    return connection


def _registry_of(
    kafka: KafkaSettings, environment: Mapping[str, str], problems: list[SettingFault]
) -> RegistryAddress | None:
    url = kafka.schema_registry_url
    if not url:
        return None
    if has_module("confluent_kafka") and not _has_registry_client():
        text = "kafka.schema_registry_url needs the client of schema registries."
        problems.append(SettingFault("kafka.schema_registry_url", text, remedy("registry")))
    if has_password(url):
        hint = "set kafka.schema_registry_username and kafka.schema_registry_password_file instead"
        problems.append(
            SettingFault("kafka.schema_registry_url", "kafka.schema_registry_url must not contain a password.", hint)
        )
    password = secret(
        "kafka.schema_registry_password_file",
        "LANNER_SCHEMA_REGISTRY_PASSWORD",
        kafka.schema_registry_password_file,
        environment,
        problems,
    )
    if kafka.schema_registry_username and not password:
        hint = "set kafka.schema_registry_password_file or $LANNER_SCHEMA_REGISTRY_PASSWORD"
        text = "no password for the schema registry."
        problems.append(SettingFault("kafka.schema_registry_username", text, hint, follows=True))
    return RegistryAddress(url, kafka.schema_registry_username or "", password, kafka.schema_registry_ca_file or "")


def _has_registry_client() -> bool:
    try:
        # It is there without the libraries that it imports.
        importlib.import_module("confluent_kafka.schema_registry")
    except ImportError:
        return False
    return True


def secret(
    setting: str, variable: str, file: str | None, environment: Mapping[str, str], problems: list[SettingFault]
) -> str:
    """Return a secret from a variable, or from the file that a variable or setting names; add errors to problems."""
    if environment.get(variable):
        return environment[variable]
    path = environment.get(f"{variable}_FILE") or file
    if not path:
        return ""
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
            text = f"{setting}: {path}: every user can change it (mode {stat.S_IMODE(mode):04o})."
            problems.append(SettingFault(setting, text, f"chmod 600 {path}"))
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(SettingFault(setting, f"{setting}: {path}: {what}."))
        return ""


def origin_of(setting: str, variable: str, environment: Mapping[str, str]) -> str:
    """Return what a secret is from: the variable that overrides the setting, with $, or the setting."""
    found = next((name for name in (variable, f"{variable}_FILE") if environment.get(name)), "")
    return f"${found}" if found else setting


class _Missing(BusUnavailable):
    """Topics are missing, or unknown to a broker that has just restarted."""


def topics_in_order(connection: Connection, names: Sequence[str]) -> tuple[dict[str, TopicState], list[TopicProblem]]:
    """Check the topics of a stage, by their names without prefix, before it starts.

    Returns:
        The topics by full name, and the problems that aren't fatal.

    Raises:
        BadInput: Topics are missing or wrong.
        BusUnavailable: The broker can't be used, and waiting won't help.
    """
    from bus.administration import Administration
    from bus.clients.availability import Retry, persist
    from bus.clients.errors import UNKNOWN_TOPIC_SECONDS

    fatal: list[TopicProblem] = []

    def look() -> tuple[dict[str, TopicState], list[TopicProblem]]:
        states = Administration(connection).states([connection.topic(name) for name in names])
        findings = check_topics(connection.prefix, states, names)
        fatal[:] = [each for each in findings if each.fatal]
        if fatal and all(each.topic not in states for each in fatal):
            more = f", nor do {len(fatal) - 1} others" if len(fatal) > 1 else ""
            remedy = "`lanner topics create` creates missing topics"
            raise _Missing(f"{fatal[0].text}{more}", remedy, patience=UNKNOWN_TOPIC_SECONDS)
        return states, [each for each in findings if not each.fatal]

    try:
        found = persist(look, Retry("The start", note))
    except _Missing:
        found = {}, []
    if fatal:
        raise BadInput(
            *(f"{each.text}." for each in fatal),
            "`lanner topics create` creates missing topics and reports the others.",
        )
    return found
