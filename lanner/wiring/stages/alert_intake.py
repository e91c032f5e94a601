"""The intake that the settings describe."""

import os
from collections.abc import Mapping

from foundation.text import OnNote
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.forms import is_loopback
from lanner.wiring.certificates import server_secrets
from lanner.wiring.routing.previews import marked_alert
from lanner.wiring.routing.templates import appended
from lanner.wiring.servers import intake_address
from notifier.intake import Bus, IntakeServer
from processor.output.redaction import Redaction


class RunningIntake:
    """An intake that listens until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        listen: str,
        bus: Bus,
        note: OnNote,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Start listening.

        Args:
            settings: token, certificates and redaction patterns.
            listen: host:port.
            bus: where alerts go.
            note: called with problems, and with a warning if no client is authenticated.
            environment: may contain the token.

        Raises:
            BadInput: with all problems.
            BusUnavailable: the bus can't be opened.
        """
        section = settings.intake
        host, port = intake_address(listen)
        token, context = server_secrets("intake", section, environment)
        add, redact = appended(settings), Redaction(settings.redact).alert
        self.server = IntakeServer(
            bus, marked_alert, prepare=lambda alert: redact(add(alert)), token=token, context=context, report=note
        )
        try:
            self.server.start(host, port)
        except OSError as error:
            raise BadInput(f"intake.listen: {listen}: {error.strerror or error}.") from None
        self.address = f"{'https' if context else 'http'}://{listen.rpartition(':')[0] or '*'}:{self.server.port}/"
        if not token and not section.client_ca_file:
            who = "any user of this host" if is_loopback(host) else "anyone who can connect"
            note(f"intake: no token and no client certificates: {who} can send alerts.", "warning")

    def summary(self) -> str:
        """Return a line with what it did."""
        stats = self.server.stats
        return f"intake: {stats.taken:,} accepted, {stats.refused:,} refused, {stats.failed:,} could not be stored"
