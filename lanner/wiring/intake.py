"""The intake as the settings describe it."""

import ipaddress
import os
import ssl
from collections.abc import Callable, Mapping

from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.kafka import secret
from lanner.wiring.sinks.test_alert import marked
from notifier.intake.server import Bus, IntakeServer, IntakeStats
from processor.detection.redaction import Redaction


class RunningIntake:
    """An intake that listens until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        listen: str,
        bus: Bus,
        note: Callable[[str], None],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Begin to listen.

        Args:
            settings: token, certificates, and what is masked.
            listen: host:port.
            bus: where alerts go.
            note: told of troubles, and of what is open to anybody.
            environment: may hold the token.

        Raises:
            BadInput: with all that is wrong.
            BusUnavailable: the bus can't be opened.
        """
        problems: list[str] = []
        wanted = settings.intake
        token = secret("intake.token_file", "LANNER_INTAKE_TOKEN", wanted.token_file, environment, problems)
        if wanted.token_file and not token and not problems:
            problems.append(f"intake.token_file: {wanted.token_file}: is empty.")
        host, port = _address(listen, problems)
        context = _context(settings, problems)
        if problems:
            raise BadInput(*problems)
        redact = Redaction(settings.redact).alert
        self._intake = IntakeServer(bus, marked, redact=redact, token=token, context=context, note=note)
        try:
            self._intake.start(host, port)
        except OSError as error:
            raise BadInput(f"intake.listen: {listen}: {error.strerror or error}.") from None
        self.address = f"{'https' if context else 'http'}://{listen.rpartition(':')[0] or '*'}:{self._intake.port}/"
        if not token and not wanted.client_ca_file:
            who = "any user of this host" if _is_loopback(host) else "whoever reaches it"
            note(f"warning: intake: no token and no client certificates: {who} can make alerts.")

    @property
    def is_alive(self) -> bool:
        """Whether it still listens."""
        return self._intake.is_alive

    def stop(self, seconds: float) -> None:
        """End; requests under way may take so many seconds."""
        self._intake.stop(seconds)

    @property
    def tally(self) -> IntakeStats:
        """What became of what came."""
        return self._intake.tally

    def account(self) -> str:
        """Say what it did."""
        tally = self.tally
        return f"intake: {tally.taken:,} taken, {tally.refused:,} refused, {tally.failed:,} could not be kept"


def _address(listen: str, problems: list[str]) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 65536):
        problems.append(f"intake.listen: {listen!r} must be host:port, such as 127.0.0.1:2801.")
        return "", 0
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(settings: Settings, problems: list[str]) -> ssl.SSLContext | None:
    wanted = settings.intake
    if not wanted.certificate_file:
        if wanted.key_file or wanted.client_ca_file:
            problems.append("intake.certificate_file must be set where key_file or client_ca_file is.")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    name = "certificate_file"
    try:
        context.load_cert_chain(wanted.certificate_file, wanted.key_file, password=lambda: "")
        if wanted.client_ca_file:
            name = "client_ca_file"
            context.load_verify_locations(wanted.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        # SSLError is one: without a file's name, but with a reason.
        what = getattr(error, "reason", None) or error.strerror or "not usable"
        problems.append(f"intake.{name}: {getattr(wanted, name)}: {what}.")
    return context
