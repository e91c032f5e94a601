"""The broker as the settings describe it; secrets come from the environment or from files, never from settings."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from bus.connection import Connection
from bus.errors import BusUnavailable
from lanner.failures import BadInput
from lanner.settings import Settings


def connection_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> Connection:
    """Give the broker's description. Raises BadInput."""
    kafka = settings.kafka
    problems: list[str] = []
    password = secret("kafka.password_file", "LANNER_KAFKA_PASSWORD", kafka.password_file, environment, problems)
    key_password = secret(
        "kafka.key_password_file", "LANNER_KAFKA_KEY_PASSWORD", kafka.key_password_file, environment, problems
    )
    if kafka.security_protocol in ("sasl_plaintext", "sasl_ssl"):
        if not kafka.username:
            problems.append(f"kafka.username must be set where kafka.security_protocol is {kafka.security_protocol}.")
        if not password:
            problems.append(
                "no password for the broker: set kafka.password_file, or put it into $LANNER_KAFKA_PASSWORD."
            )
    for name in ("ca_file", "certificate_file", "key_file"):
        path = getattr(kafka, name)
        if path and not os.access(path, os.R_OK):
            problems.append(f"kafka.{name}: {path}: not there, or not to be read by this user.")
    if problems:
        raise BadInput(*problems)
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
    )


def need(stage: str, *modules: str) -> None:
    """Say what to install where a stage's libraries are missing. Raises BusUnavailable."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise BusUnavailable(f"the {module} library is not installed", f"pip install 'lanner[{stage}]'")


def secret(setting: str, variable: str, file: str | None, environment: Mapping[str, str], problems: list[str]) -> str:
    """Give a secret from the environment, or from a file that it or a setting names; troubles go into problems."""
    if environment.get(variable):
        return environment[variable]
    path = environment.get(f"{variable}_FILE") or file
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not UTF-8"
        problems.append(f"{setting}: {path}: {what}.")
        return ""
