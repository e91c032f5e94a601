"""Runs the Faust app in this process until a signal, and shuts it down cleanly."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import faust

from bus.connection import BusUnavailable, Connection
from bus.topics import ACTION_REQUESTS, ACTIONS_TABLE, CORRELATE, CORRELATION_TABLE, PROCESSOR_GROUP
from foundation.caches import BoundedMap
from foundation.errors import LannerError
from foundation.text import Level, OnNote
from processor.fleet.actions import ActionRequests, ActionStage
from processor.fleet.consumption import GroupAlerts, Lateness
from processor.fleet.detect_service import DetectService, make_app
from processor.fleet.followers import HostKeysService, RecordsFollower
from processor.fleet.producer import ResultProducer
from processor.fleet.rules.rollout import RulesRollout, Stages
from processor.fleet.stateful_service import PartitionStage, StatefulService, StatefulTopic

_CORRELATE = StatefulTopic(CORRELATE, CORRELATION_TABLE, "windows and counts of repeats")
_ACTIONS = StatefulTopic(ACTION_REQUESTS, ACTIONS_TABLE, "budgets of action policies")
REPEAT_SECONDS = 60.0
_MOST_CHARACTERS = 500
_MOST_KINDS = 1000
_HINTS = {
    "SaslAuthenticationFailed": "check kafka.username, kafka.password_file and kafka.sasl_mechanism",
    "CERTIFICATE_VERIFY_FAILED": "check kafka.ca_file and kafka.bootstrap_servers",
    "AuthorizationFailed": "grant this user its rights: `lanner topics acls`",
}


@dataclass(slots=True)
class _Kind:
    """Lines that differ in their values only."""

    logged_at: float
    left_out: int = 0


class FaustLog(logging.Handler):
    """Logs each kind of line once a minute: a client that cannot reach its broker retries several times a second."""

    def __init__(self, on_note: OnNote, level: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            on_note: receives each line.
            level: the minimum level of logging.
            clock: seconds.
        """
        super().__init__(level)
        self._on_note = on_note
        self._clock = clock
        self._kinds: BoundedMap[tuple[str, str], _Kind] = BoundedMap(_MOST_KINDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line, or count it."""
        key = (record.name, str(record.msg))
        now = self._clock()
        kind = self._kinds.get(key)
        if kind is not None and now - kind.logged_at < REPEAT_SECONDS:
            kind.left_out += 1
            return
        self._kinds.put(key, _Kind(now))
        text = record.getMessage().strip().replace("\n", " ")
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text = f"{text}: {type(error).__name__}: {error}"
        hint = next((f": {hint}" for sign, hint in _HINTS.items() if sign in text), "")
        more = f" ({kind.left_out} more like it since the last)" if kind is not None and kind.left_out else ""
        level: Level = "error" if record.levelno >= logging.ERROR else "info"
        self._on_note(f"{record.name}: {text[:_MOST_CHARACTERS]}{hint}{more}", level)


FINISH_SECONDS = 5.0
COMMIT_SECONDS = 5.0
_LOOK_SECONDS = 1.0
STOP_SECONDS = 10.0
"""With the 5 s that sending the rest may take, less than the 30 s after which systemd and Kubernetes kill a process."""
OnStart = Callable[[faust.App, ResultProducer], None]
StopSignals = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], None]


class ProcessorFailed(LannerError):
    """This process cannot continue; other processors take over its unacknowledged messages."""


class _Worker(faust.Worker):
    """Faust's worker without its signal handlers and logging."""

    def install_signal_handlers(self) -> None:
        """Do nothing: signals are handled here."""


@dataclass(frozen=True, slots=True)
class FleetProcessor:
    """The parts of a processor, connected to each other; nothing is started."""

    connection: Connection
    """The broker; its topics have been checked."""
    stages: Stages
    rules: RulesRollout
    """Changes the rules of all stages."""
    host_keys: HostKeysService | None
    """Verifies from which hosts batches come; None to accept all."""
    records: Sequence[RecordsFollower]
    """Read topics that evaluation looks things up in."""
    partitions: int
    """Partitions of the events topic."""
    lateness: Lateness
    """Reports that messages are evaluated late."""
    cluster_name: str
    """For alerts whose pod's cluster is not known."""
    actions: ActionRequests | None = None
    """Requests actions; None without a key to sign intents."""


def run_processor(
    processor: FleetProcessor,
    *,
    on_note: OnNote,
    stop_signals: StopSignals,
    on_ready: Callable[[], None] = lambda: None,
    at: Callable[[str], None] = lambda _: None,
    log_level: int = logging.ERROR,
    on_start: OnStart = lambda _app, _shipping: None,
) -> int:
    """Run until it is stopped.

    Args:
        processor: its parts.
        on_note: receives messages for an operator.
        stop_signals: called with the running loop and with what stops the processor when called there.
        on_ready: called once partitions are assigned for the first time.
        at: fault points, for tests.
        log_level: of Faust's own log.
        on_start: called with the app and the producer, on the running loop, before the app connects.

    Returns:
        The number of alerts sent.

    Raises:
        ProcessorFailed: it cannot continue; the message is the reason.
    """
    handler = FaustLog(on_note, log_level)
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(log_level)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda _, context: handler.emit(_record(context)))
    return loop.run_until_complete(
        _run(loop, processor, on_note=on_note, stop_signals=stop_signals, on_ready=on_ready, at=at, on_start=on_start)
    )


async def within(seconds: float, work: Awaitable[object]) -> bool:
    """Wait for some time until work ends.

    What has not ended then is cancelled but not awaited, as it would be by asyncio.timeout: Faust's commit takes a
    cancellation for the end of another commit and starts its own, which lasts until the broker is back.

    Args:
        seconds: how long to wait.
        work: starts at once.

    Returns:
        Whether it has ended.

    Raises:
        Exception: the work's own.
    """
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait((task,), timeout=seconds)
    if not done:
        task.cancel()
        return False
    task.result()
    return True


async def _run(
    loop: asyncio.AbstractEventLoop,
    processor: FleetProcessor,
    *,
    on_note: OnNote,
    stop_signals: StopSignals,
    on_ready: Callable[[], None],
    at: Callable[[str], None],
    on_start: OnStart,
) -> int:
    connection, stages, rules = processor.connection, processor.stages, processor.rules
    host_keys, records, lateness = processor.host_keys, processor.records, processor.lateness
    stopping = asyncio.Event()
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        stopping.set()

    stop_signals(loop, stopping.set)
    app = make_app(connection, processor.partitions, on_note)
    detect = DetectService(
        app,
        connection,
        stages.detect,
        stages.json,
        host_keys=host_keys,
        records=records,
        on_note=on_note,
        on_failure=fail,
        at=at,
    )
    actions = processor.actions
    owners: list[tuple[StatefulTopic, PartitionStage]] = [(_CORRELATE, stages.correlate)]
    if actions is not None:
        owners.append((_ACTIONS, ActionStage(actions.sign)))
    services: list[DetectService | StatefulService] = [detect]
    services += [StatefulService(app, connection, *each, on_note=on_note, on_failure=fail, at=at) for each in owners]
    is_ready = False

    async def assigned(app: Any, partitions: Any, **_: Any) -> None:  # noqa: ARG001  Faust's signal
        nonlocal is_ready
        if not is_ready:
            is_ready = True
            on_ready()

    signalled: Any = app.on_partitions_assigned
    signalled.connect(assigned)
    worker = _Worker(app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False)
    # It writes to the terminal even if it has nothing to show.
    worker.spinner = None
    shipping = ResultProducer(connection, on_note, processor.cluster_name)
    await shipping.announce()
    for service in services:
        service.start(shipping)
    rules.start(shipping)
    _start_followers(processor, shipping)
    group = GroupAlerts(connection.topic(PROCESSOR_GROUP), lateness.worker)
    watching = asyncio.create_task(_report(app, lateness, group, rules, shipping))
    on_start(app, shipping)
    running = asyncio.ensure_future(worker.start())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
    if running.done() and not stopping.is_set():
        fail(running.exception() or worker.crash_reason or RuntimeError("Faust stopped unexpectedly"))
    watching.cancel()
    await rules.finish()
    _finish_followers(processor)
    if not failures:
        # Together: while the broker is away, each would take the whole time.
        await within(FINISH_SECONDS, asyncio.gather(*(service.finish() for service in services)))
        await _stop(worker, app, on_note)
    await asyncio.to_thread(shipping.close)
    if failures:
        raise ProcessorFailed(_reason(failures[0]))
    return shipping.alerts


def _start_followers(processor: FleetProcessor, shipping: ResultProducer) -> None:
    if processor.actions is not None:
        processor.actions.start(shipping, lambda: processor.rules.in_use, partial(_hosts, processor))
    if processor.host_keys is not None:
        processor.host_keys.start(shipping)
    for each in processor.records:
        each.start()


def _finish_followers(processor: FleetProcessor) -> None:
    for each in (processor.host_keys, *processor.records, processor.actions):
        if each is not None:
            each.finish()


def _hosts(processor: FleetProcessor) -> int:
    """Return how many hosts the fleet has, by their keys, or by what this processor sees, as others see as many."""
    seen = processor.stages.detect.reports.counts(time.monotonic()).total() * max(len(processor.rules.workers), 1)
    return seen if processor.host_keys is None else max(seen, processor.host_keys.gate.hosts)


async def _report(
    app: faust.App, lateness: Lateness, group: GroupAlerts, rules: RulesRollout, shipping: ResultProducer
) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        consumer: Any = app.consumer
        now = time.time_ns()
        findings = [*consumer.take_findings(), *group.unknown(consumer.workers, rules.workers, now)]
        alerts = group.of(findings, now)
        if not consumer.is_between_assignments:
            # Otherwise nothing would be late.
            alerts += lateness.look(consumer.lags(), now)
        for alert in alerts:
            # Waiting for the broker would keep it from looking.
            (await shipping.alert(alert)).add_done_callback(lambda sent: sent.cancelled() or sent.exception())


async def _stop(worker: faust.Worker, app: faust.App, on_note: OnNote) -> None:
    consumer: Any = app.consumer
    try:
        await within(COMMIT_SECONDS, consumer.commit_settled())
        if not await within(STOP_SECONDS, worker.stop()):
            on_note("Faust did not stop in time; unacknowledged messages will be evaluated again.")
    except Exception as error:  # noqa: BLE001  an unavailable broker during shutdown is not a failure
        on_note(f"Faust did not stop cleanly ({error}); unacknowledged messages will be evaluated again.")


def _reason(error: BaseException) -> str:
    """Return why this process cannot continue, for people."""
    return str(error) if isinstance(error, BusUnavailable) else f"{type(error).__name__}: {error}"


def _record(context: dict[str, Any]) -> logging.LogRecord:
    error = context.get("exception")
    text = str(context.get("message", ""))
    message = f"{text}: {type(error).__name__}: {error}" if error is not None else text
    return logging.LogRecord("asyncio", logging.ERROR, "", 0, message, None, None)
