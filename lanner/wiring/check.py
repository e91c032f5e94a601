"""Checks settings before a stage starts: all that would make its start fail, without starting anything.

`lanner config check` and the stages call the same function, so a stage accepts what the check accepted.
"""

import re
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from bus.connection import BusUnavailable
from bus.topics import check_topics
from foundation.text import ignore_note
from lanner.errors import BadInput
from lanner.libraries import need
from lanner.operations.doctor import DoctorCheck
from lanner.operations.freshness import freshness
from lanner.ruleset.compile import CompiledDetection, active_text
from lanner.settings import LoadedSettings, Settings
from lanner.settings.faults import BadSettings, SettingFault, located, unit_of
from lanner.settings.forms import OFF, file_system, listen_address, why_no_folder
from lanner.settings.sections.model import KINDS, KafkaSettings, section_of
from lanner.settings.sections.sinks import FileOutput
from lanner.sources.installed import define_sources, topics_of
from lanner.wiring.freshness import disk_spaces, limits_of
from lanner.wiring.kafka import connection_of
from lanner.wiring.routers import enabled_sinks, routing_table
from lanner.wiring.rules import appended_faults, load_detection
from lanner.wiring.servers import server_secrets
from lanner.wiring.sinks.registry import check_sink
from lanner.wiring.stores import always_sent

_MAX_TEXT = 200
_MAX_COMMAND = 80
_SECRET_FILE = re.compile(r"(?:password|secret|tokens?|urls?|value|(?<!public_)key)_file$")
_ESSENTIAL = ("events", "alerts")
"""Topics without which no fleet works."""


def settings_findings(settings: Settings) -> Iterator[DoctorCheck]:
    """Check what the settings use, and yield the findings."""
    yield rules(settings)
    for name in enabled_sinks(settings):
        yield sink(settings, name)
    yield from ports(settings)
    yield from disks(settings)
    for text in remarks(settings):
        yield DoctorCheck("settings", "note", text.rstrip("."), "lanner config check reports it as well.")
    if settings.kafka != KafkaSettings():
        yield broker(settings)
    else:
        yield DoctorCheck("Kafka", "ok", "not configured, and not needed on one host")


def ports(settings: Settings) -> Iterator[DoctorCheck]:
    """Check whether the ports that the settings name are free, or used by Lanner already."""
    named = {"http.listen": settings.http.listen, "intake.listen": settings.intake.listen}
    named["kubernetes_audit.listen"] = settings.kubernetes_audit.listen
    if settings.console.enabled:
        named["console.listen"] = settings.console.listen
    for setting, text in named.items():
        where = None if text in (None, OFF) else listen_address(str(text))
        if where is None or not where[1]:
            continue
        host, port = where
        try:
            with socket.create_server(where, family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                pass
        except OSError as error:
            users = _users_of(port)
            # `…/bin/lanner`, or `python -m lanner`.
            if users and all("lanner" in map(_base, command.split()[:3]) for command in users.values()):
                yield DoctorCheck(setting, "ok", f"Lanner uses port {port}: pid {next(iter(users))}")
                continue
            who = ", ".join(f"pid {pid}, {command}" for pid, command in users.items())
            found = f"{text}: {error.strerror or error}{f' ({who})' if who else ''}"
            yield DoctorCheck(setting, "missing", found, f"Set {setting} to another port.")
        else:
            yield DoctorCheck(setting, "ok", f"port {port} is free")


def _descriptors(folder: Path) -> Iterator[str]:
    """Yield what the descriptors of a process are; some may be closed already."""
    for each in folder.iterdir():
        with suppress(OSError):
            yield str(each.readlink())


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _users_of(port: int) -> dict[str, str]:
    """Return the command of each process that listens on a TCP port, by pid, as far as this user may see them."""
    sockets = set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            rows = [line.split() for line in Path(file).read_text(encoding="ascii").splitlines()[1:]]
            # Source: proc_pid_net(5): local address, state (0A: listens) and inode.
            sockets |= {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    found = {}
    for folder in Path("/proc").glob("[0-9]*") if sockets else ():
        with suppress(OSError):
            if not sockets.isdisjoint(_descriptors(folder / "fd")):
                command = (folder / "cmdline").read_bytes()[:_MAX_TEXT].decode("utf-8", "replace")
                found[folder.name] = " ".join(command.split("\0"))[:_MAX_COMMAND].strip()
    return found


def disks(settings: Settings) -> Iterator[DoctorCheck]:
    """Check whether there is room where Lanner writes."""
    current = freshness(time.time(), limits_of(settings), (), disks=disk_spaces(settings))
    for each in current.findings:
        if each.is_problem:
            yield DoctorCheck(f"disk {each.name}", "missing", each.text, "Free some space there.")
        else:
            yield DoctorCheck(f"disk {each.name}", "ok", each.text)


def remarks(settings: Settings) -> Iterator[str]:
    """Yield what is allowed, but rarely meant: folders that would be made, and secrets that every user can read."""
    for name in (*KINDS, *settings.sinks):
        section = section_of(settings, name)
        if isinstance(section, FileOutput) and section.enabled:
            with suppress(OSError):
                if not Path(section.filename).parent.exists():
                    text = "its folder does not exist and will be made: is the name right?"
                    yield f"sink {name}: {section.filename}: {text}"
    for setting, file in _secret_files(settings, ""):
        with suppress(OSError):
            mode = Path(file).stat().st_mode
            # In memory are secrets that a container's platform provides, for this container alone.
            if mode & stat.S_IROTH and file_system(Path(file)) != "tmpfs":
                yield f"{setting}: {file}: every user can read it (mode {stat.S_IMODE(mode):04o}): chmod 600."


def _secret_files(value: object, name: str) -> Iterator[tuple[str, str]]:
    """Yield the settings below a value that name files with secrets, and the files."""
    parts: Iterable[tuple[str, object]] = ()
    if is_dataclass(value):
        parts = ((f"{name}.{item.name}".lstrip("."), getattr(value, item.name)) for item in fields(value))
    elif isinstance(value, Mapping):
        parts = ((f"{name}.{key}", each) for key, each in value.items())
    elif isinstance(value, tuple):
        parts = ((f"{name}[{index}]", each) for index, each in enumerate(value))
    elif isinstance(value, str) and _SECRET_FILE.search(name):
        yield name, value
    for part, each in parts:
        yield from _secret_files(each, part)


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
    """Check whether the broker, which is configured, answers and has the topics."""
    try:
        connection = connection_of(settings)
        from bus.clients.availability import check_reachable

        check_reachable(connection)
        need("processor", "confluent_kafka")
        from bus.administration import Administration

        states = Administration(connection).states([connection.topic(name) for name in _ESSENTIAL])
    except BadInput as error:
        return DoctorCheck("Kafka", "missing", _first(error), "lanner config check shows every error.")
    except BusUnavailable as error:
        return DoctorCheck("Kafka", "missing", error.reason, f"{error.remedy[:1].upper()}{error.remedy[1:]}.")
    problems = check_topics(connection.prefix, states, _ESSENTIAL)
    if problems:
        remedy = "lanner topics create makes missing topics and reports the others."
        return DoctorCheck("Kafka", "missing", f"{connection.bootstrap_servers} answers; {problems[0].text}", remedy)
    return DoctorCheck("Kafka", "ok", f"{connection.bootstrap_servers} answers and has the topics")


def _first(error: BadInput) -> str:
    """Return the first line of an error; the others show where it is."""
    return error.messages[0].splitlines()[0].rstrip(".")[:_MAX_TEXT]


Stage = Literal["run", "collector", "processor", "notifier", "kubernetes", "intake", "archive", "console"]
_T = TypeVar("_T")


def check_settings(
    loaded: LoadedSettings,
    stage: Stage,
    *,
    sinks: Sequence[str] | None = None,
    needs_broker: bool = True,
    warnings: bool = False,
    folder: Path | None = None,
) -> CompiledDetection | None:
    """Check the settings of a stage.

    Args:
        loaded: the settings.
        stage: the command that they are for.
        sinks: those that the stage opens; by default the enabled ones.
        needs_broker: whether the stage connects to Kafka; `run` never does.
        warnings: whether the notices of the rules include warnings.
        folder: where loaded rules are stored for the next start; None to store none.

    Returns:
        The compiled rules, for the stages that need this host's rule files.

    Raises:
        BadInput: with all errors, in the order of the settings file.
    """
    check = _Check(loaded)
    settings = loaded.settings
    detection = None
    if stage in ("run", "collector", "processor"):
        check.require(lambda: define_sources(settings))
        check.add(appended_faults(settings))
    if stage in ("run", "collector"):
        detection = check.require(lambda: load_detection(settings, warnings=warnings, folder=folder))
    if stage != "run" and needs_broker:
        check.require(lambda: connection_of(settings))
    if stage in ("run", "notifier"):
        _check_deliveries(check, settings, stage, enabled_sinks(settings) if sinks is None else sinks)
    if settings.http.listen != OFF and (stage != "run" or settings.http.listen):
        check.require(lambda: need("metrics", "prometheus_client"))
    if stage == "run":
        _check_run(check, settings)
    elif stage == "collector":
        check.require(lambda: always_sent(settings))
        check.require(partial(_check_folder, "kafka.spool_dir", settings.kafka.spool_dir))
        check.add(_action_faults(settings))
    elif stage == "processor":
        check.require(lambda: topics_of(settings))
        check.require(lambda: _check_processor(settings))
    elif stage == "kubernetes":
        check.require(lambda: _check_api_server(settings))
    elif stage == "intake":
        check.require(lambda: _check_audit_intake(settings))
    elif stage == "archive" and "://" not in settings.archive.folder:
        check.require(partial(_check_folder, "archive.folder", settings.archive.folder))
    if stage == "console" or (stage == "run" and settings.console.enabled):
        check.require(lambda: _check_console(settings))
        check.require(partial(_check_folder, "console.state_dir", settings.console.state_dir))
    check.finish()
    return detection


class _Check:
    """Collects the errors of all checks."""

    def __init__(self, loaded: LoadedSettings) -> None:
        self._loaded = loaded
        self._faults: list[SettingFault] = []
        self._messages: list[str] = []

    def add(self, faults: Iterable[SettingFault]) -> None:
        """Add errors."""
        self._faults += faults

    def require(self, check: Callable[[], _T]) -> _T | None:
        """Call a function that raises if settings are wrong; return its result, or None."""
        try:
            return check()
        except BadSettings as error:
            self._faults += error.faults
        except BadInput as error:
            self._messages += error.messages
        except BusUnavailable as error:
            self._messages.append(f"{error.reason}: {error.remedy}.")
        return None

    def finish(self) -> None:
        """Raise BadInput if there was an error, with all of them in the order of the settings file."""
        # What follows from a value that could not be read is no error of its own.
        wrong = {fault.setting for fault in self._loaded.faults}
        units = set(map(unit_of, wrong))
        further = [
            fault
            for fault in self._faults
            if fault.setting not in wrong and not (fault.follows and unit_of(fault.setting) in units)
        ]
        faults = [located(fault, self._loaded.tree) for fault in (*self._loaded.faults, *further)]
        faults.sort(key=_position)
        messages = list(dict.fromkeys((*map(str, faults), *self._messages)))
        if messages:
            raise BadInput(*messages)


def _position(fault: SettingFault) -> tuple[bool, str, int, int]:
    location = fault.location
    return (True, "", 0, 0) if location is None else (False, location.file, location.line, location.column)


def _check_deliveries(check: _Check, settings: Settings, stage: Stage, sinks: Sequence[str]) -> None:
    check.require(lambda: routing_table(settings, ignore_note))
    is_direct = stage == "run"
    queued = [check.require(partial(check_sink, settings, name, direct=is_direct)) for name in sinks]
    if any(queued):
        check.require(partial(_check_folder, "notifier.state_dir", settings.notifier.state_dir))
    if stage == "notifier" and settings.intake.listen is not None:
        check.require(lambda: _check_intake(settings))


def _check_intake(settings: Settings) -> None:
    need("notifier", "aiohttp")
    server_secrets("intake", settings.intake)


def _check_audit_intake(settings: Settings) -> None:
    need("notifier", "aiohttp")
    section = settings.kubernetes_audit
    if section.listen is None and section.file is None and section.topic.name is None:
        text = "no source: set kubernetes_audit.listen, file or topic.name, or give --listen, --file or --topic."
        raise BadSettings(SettingFault("kubernetes_audit.listen", text))
    if section.topic.name is not None:
        from lanner.wiring.stages.json_intake import topic_connection

        topic_connection(settings)
    if section.file is not None:
        _check_folder("kubernetes_audit.state_dir", section.state_dir)
    if section.listen is not None:
        server_secrets("kubernetes_audit", section)


def _check_console(settings: Settings) -> None:
    need("console", "aiohttp", "jinja2", "authlib", "joserfc", "prometheus_client")
    from lanner.wiring.stages.console import console_parts

    console_parts(settings)


def _check_run(check: _Check, settings: Settings) -> None:
    if settings.keep.size_mib:
        check.require(lambda: always_sent(settings))
    if settings.kubernetes_audit.file is not None:
        check.require(lambda: _check_folder("kubernetes_audit.state_dir", settings.kubernetes_audit.state_dir))
    if settings.kubernetes.kubeconfig is not None:
        check.require(lambda: _check_api_server(settings))


def _action_faults(settings: Settings) -> Iterator[SettingFault]:
    """Yield why a host of a fleet can't accept intents, if types of actions are enabled on it."""
    section = settings.collector.actions
    if section.enabled and not (section.processor_key_files or section.people_key_files or section.console_key_files):
        text = "no intent would be accepted: set collector.actions.processor_key_files or people_key_files."
        yield SettingFault("collector.actions.enabled", text)
    if section.enabled and settings.collector.identity == "off":
        text = "anybody could report events of this host, and actions on it: don't set it to off."
        yield SettingFault("collector.identity", text)


def _check_processor(settings: Settings) -> None:
    need("processor", "cryptography")
    from lanner.wiring.published import public_keys

    public_keys(settings)
    if settings.actions.key_file is not None and settings.collector.identity == "off":
        text = "with actions.key_file, it must be known which host sent an event: don't set it to off."
        raise BadSettings(SettingFault("collector.identity", text))


def _check_api_server(settings: Settings) -> None:
    need("kubernetes", "lightkube")
    from lanner.wiring.stages.kubernetes import check_credentials

    check_credentials(settings)


def _check_folder(setting: str, folder: str) -> None:
    if why := why_no_folder(Path(folder)):
        raise BadSettings(SettingFault(setting, f"{setting}: {folder}: {why}."))
