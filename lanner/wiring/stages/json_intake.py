"""The intake of Kubernetes audit events that the settings describe."""

import asyncio
import functools
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

from bus.connection import Connection
from foundation.text import OnNote
from lanner.errors import BadInput, or_bad_input
from lanner.intake.delivery import open_delivery
from lanner.intake.local import log_follower
from lanner.intake.sources import AuditTopicReader, follow_file, read_topic
from lanner.intake.webhook import AuditWebhook, WebhookAccess
from lanner.process import call_on_stop
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import is_loopback
from lanner.wiring.kafka import connection_of, secret
from lanner.wiring.servers import intake_address, server_secrets

_TURN_SECONDS = 1.0
STOP_SECONDS = 20.0


class AuditIntake:
    """Takes audit events until it is stopped."""

    def __init__(
        self, settings: Settings, connection: Connection, note: OnNote, at: Callable[[str], None] = lambda _: None
    ) -> None:
        """Prepare; nothing is connected.

        at is called with the name of each point between two steps; tests kill the process there.
        """
        self.outcomes: Counter[str] = Counter()
        """Events, by whether the broker has them."""
        self.webhook: AuditWebhook | None = None
        self.origins: list[str] = []
        """Where events come from, for people."""
        self._settings = settings
        self._note = note
        self._at = at
        self._open = functools.partial(open_delivery, connection, self.outcomes, note)

    def start(self, environment: Mapping[str, str] = os.environ) -> None:
        """Start to listen, if configured. Raises BadInput with all problems, and BusUnavailable."""
        section = self._settings.kubernetes_audit
        if section.file is not None:
            self.origins.append(section.file)
        if section.topic.name is not None:
            self.origins.append(f"topic {section.topic.name}")
        if section.listen is None:
            return
        token, context = server_secrets("kubernetes_audit", section, environment)
        host, port = intake_address(section.listen)
        self.webhook = AuditWebhook(self._open, WebhookAccess(token.encode(), context), self._note, at=self._at)
        with or_bad_input(f"kubernetes_audit.listen: {section.listen}"):
            self.webhook.start(host, port)
        shown = section.listen.rpartition(":")[0] or "*"
        self.origins.append(f"{'https' if context else 'http'}://{shown}:{self.webhook.port}/")
        if not token and not section.client_ca_file:
            who = "any user of this host" if is_loopback(host) else "anyone who can connect"
            self._note(f"no token and no client certificates: {who} can send audit events.", "warning")

    def run(self, on_turn: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT; on_turn is called about once a second.

        Raises:
            BadInput: a part of it ended.
            BusUnavailable: the broker can't be used, and waiting does not help.
        """
        asyncio.run(self._run(on_turn))

    def stop(self) -> None:
        """Stop to listen, after the requests in progress."""
        if self.webhook is not None:
            self.webhook.stop(STOP_SECONDS)

    async def _run(self, on_turn: Callable[[], None]) -> None:
        stopping = asyncio.Event()
        call_on_stop(asyncio.get_running_loop(), stopping.set)
        stop = asyncio.create_task(stopping.wait())
        sources = [asyncio.create_task(each) for each in self._sources()]
        try:
            while not stop.done():
                on_turn()
                if self.webhook is not None and not self.webhook.is_alive:
                    raise BadInput("audit webhook: internal error; this is a bug in Lanner.")
                ended, _ = await asyncio.wait(
                    (stop, *sources), timeout=_TURN_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                for each in ended:
                    each.result()
        finally:
            for each in sources:
                each.cancel()
            await asyncio.gather(*sources, return_exceptions=True)

    def _sources(self) -> Iterator[Coroutine[Any, Any, None]]:
        section = self._settings.kubernetes_audit
        if section.file is not None:
            yield self._follow(section.file)
        if section.topic.name is not None:
            yield self._read(section.topic.name, section.topic.group)

    async def _follow(self, file: str) -> None:
        follower = log_follower(file, self._settings.kubernetes_audit.state_dir, self._note)
        async with self._open() as delivery:
            await follow_file(follower, delivery, self._note, self._at)

    async def _read(self, topic: str, group: str) -> None:
        reader = AuditTopicReader(topic_connection(self._settings), topic, group, self._note)
        async with self._open() as delivery:
            await read_topic(reader, delivery, self._at)


def topic_connection(settings: Settings, environment: Mapping[str, str] = os.environ) -> Connection:
    """Return the connection to the broker with the topic to read. Raises BadSettings."""
    section = settings.kubernetes_audit.topic
    if section.bootstrap_servers is None:
        return connection_of(settings)
    problems: list[SettingFault] = []
    name = "kubernetes_audit.topic"
    variable = "LANNER_KUBERNETES_AUDIT_TOPIC_PASSWORD"
    password = secret(f"{name}.password_file", variable, section.password_file, environment, problems)
    made = Connection(
        bootstrap_servers=section.bootstrap_servers,
        prefix="",
        security_protocol=section.security_protocol,
        sasl_mechanism=section.sasl_mechanism,
        username=section.username or "",
        password=password,
        ca_file=section.ca_file or "",
    )
    if made.uses_sasl and not (made.username and password) and not problems:
        text = f"{name}.username and {name}.password_file must be set if {name}.security_protocol uses SASL."
        problems.append(SettingFault(f"{name}.security_protocol", text, follows=True))
    if problems:
        raise BadSettings(*problems)
    return made
