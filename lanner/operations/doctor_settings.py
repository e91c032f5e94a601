"""Checks for `lanner doctor` of what the settings use: rule files, sinks and the broker. Nothing is sent or created."""

from collections.abc import Iterator

from bus.clients.reachability import check_reachable
from bus.errors.unavailable import BusUnavailable
from bus.topics import check_topics
from lanner.errors import BadInput
from lanner.installation.libraries import need
from lanner.operations.doctor import DoctorCheck
from lanner.ruleset.compile import active_text, load_detection
from lanner.settings import Settings
from lanner.settings.sections.model import KafkaSettings
from lanner.wiring.kafka import connection_of
from lanner.wiring.single_host.sinks import enabled_sinks
from lanner.wiring.sinks.registry import check_sink

_MAX_TEXT = 200
_ESSENTIAL = ("events", "alerts")
"""Topics without which no fleet works."""


def settings_findings(settings: Settings) -> Iterator[DoctorCheck]:
    """Check what the settings use, and yield the findings."""
    yield rules(settings)
    for name in enabled_sinks(settings):
        yield sink(settings, name)
    if settings.kafka != KafkaSettings():
        yield broker(settings)
    else:
        yield DoctorCheck("Kafka", "ok", "not configured, and not needed on one host")


def rules(settings: Settings) -> DoctorCheck:
    """Check whether the rules load: otherwise nothing starts."""
    try:
        return DoctorCheck("rules", "ok", active_text(load_detection(settings, warnings=False)))
    except BadInput as error:
        return DoctorCheck("rules", "missing", _first(error), "Every error: lanner rules validate.")


def sink(settings: Settings, name: str) -> DoctorCheck:
    """Check the settings of a sink, without sending anything."""
    subject = f"sink {name}"
    try:
        has_queue = check_sink(settings, name, direct=True)
    except (BadInput, BusUnavailable) as error:
        text = _first(error) if isinstance(error, BadInput) else error.reason
        return DoctorCheck(subject, "missing", text, "lanner config check shows every error.")
    remedy = f"To send a test alert: lanner notifier test {name}." if has_queue else ""
    return DoctorCheck(subject, "ok", "its settings are complete", remedy)


def broker(settings: Settings) -> DoctorCheck:
    """Check whether the broker answers and has the topics. One host needs none, so this is never `missing`."""
    try:
        connection = connection_of(settings)
        check_reachable(connection)
        need("processor", "confluent_kafka")
        from bus.administration import Administration  # noqa: PLC0415  needs the broker's client

        states = Administration(connection).states([connection.topic(name) for name in _ESSENTIAL])
    except BadInput as error:
        return DoctorCheck("Kafka", "note", _first(error), "lanner config check shows every error.")
    except BusUnavailable as error:
        return DoctorCheck("Kafka", "note", error.reason, f"{error.remedy[:1].upper()}{error.remedy[1:]}.")
    problems = check_topics(connection.prefix, states, _ESSENTIAL)
    if problems:
        remedy = "lanner topics create makes missing topics and reports the others."
        return DoctorCheck("Kafka", "note", f"{connection.bootstrap_servers} answers; {problems[0].text}", remedy)
    return DoctorCheck("Kafka", "ok", f"{connection.bootstrap_servers} answers and has the topics")


def _first(error: BadInput) -> str:
    """Return the first line of an error; the others show where it is."""
    return error.messages[0].splitlines()[0].rstrip(".")[:_MAX_TEXT]
