"""The servers that settings describe: addresses, certificates, and the one for metrics and health of each stage."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lanner.errors import BadInput
from lanner.libraries import Environment, need
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.forms import OFF, host_and_port, is_loopback, listen_address
from lanner.settings.sections.services import ConsoleSettings, IntakeSettings, KubernetesAuditSettings
from lanner.terminal.output import note
from lanner.wiring.kafka import secret

if TYPE_CHECKING:
    import ssl

    from lanner.operations.catalogue import Readings
    from lanner.operations.health import Health
    from lanner.operations.server import Server

PORTS = {"collector": 8775, "processor": 8776, "notifier": 8777, "kubernetes": 8779, "intake": 8780, "archive": 8781}


@contextmanager
def endpoint(
    settings: Settings, stage: str, read: "Callable[[], Readings]", health: "Health", *, flag: str | None = None
) -> "Iterator[Server | None]":
    """Serve a stage's metrics and health until exit; yield None if disabled.

    flag: the address given by a flag, which overrides the setting.

    Raises:
        BadInput: The address is invalid or in use.
        BusUnavailable: The metrics library is not installed.
    """
    # Imported here, because `lanner run` without metrics does without it.
    from lanner.operations.server import serving

    listen = flag or settings.http.listen or PORTS.get(stage, OFF)
    if listen == OFF:
        yield None
        return
    origin = "--metrics" if flag else "http.listen"
    host, port = address(str(listen), origin)
    need("metrics", "prometheus_client")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(serving((host, port), stage, read, health, note))
        except OSError as error:
            hint = f"another process uses port {port}: set {origin} to another port, to 0 for any free one, or to off"
            raise BadInput(f"{origin}: {listen}: {error.strerror or error}; {hint}.") from None
        shown = f"[{host}]" if ":" in host else host
        note(f"serving metrics and health at http://{shown}:{server.port}/metrics, /healthz, /readyz")
        # A container's network decides who can connect.
        if not is_loopback(host) and not Environment().image:
            note("metrics and health, which reveal rules and versions, are open to anyone who can connect.", "warning")
        yield server


def intake_address(listen: str) -> tuple[str, int]:
    """Parse the `HOST:PORT` on which an intake listens. Raises BadInput."""
    found = host_and_port(listen)
    if found is None:
        raise BadInput(f"--listen: {listen!r} must be host:port, such as 127.0.0.1:2801.")
    return found


def address(text: str, origin: str) -> tuple[str, int]:
    """Parse `[ADDRESS:]PORT`; origin is the setting or flag, for the message. Raises BadInput."""
    found = listen_address(text)
    if found is None:
        raise BadInput(f"{origin}: {text!r} must be a port, an address and a port such as 0.0.0.0:8775, or off.")
    return found


def server_secrets(
    name: str, section: IntakeSettings | KubernetesAuditSettings, environment: Mapping[str, str] = os.environ
) -> "tuple[str, ssl.SSLContext | None]":
    """Read the token and the certificates that a section names; each may be none. Raises BadSettings.

    The token can also be in the variable LANNER_NAME_TOKEN.
    """
    problems: list[SettingFault] = []
    file = section.token_file
    token = secret(f"{name}.token_file", f"LANNER_{name.upper()}_TOKEN", file, environment, problems)
    if file and not token and not problems:
        problems.append(SettingFault(f"{name}.token_file", f"{name}.token_file: {file}: the file is empty."))
    context = server_context(name, section, problems, section.client_ca_file)
    if problems:
        raise BadSettings(*problems)
    return token, context


def server_context(
    name: str,
    section: IntakeSettings | KubernetesAuditSettings | ConsoleSettings,
    problems: list[SettingFault],
    client_ca_file: str | None = None,
) -> "ssl.SSLContext | None":
    """Return the context for TLS, or None without a certificate; add errors to problems.

    With client_ca_file, clients must present a certificate of these CAs.
    """
    if not section.certificate_file:
        if section.key_file or client_ca_file:
            wrong = "key_file" if section.key_file else "client_ca_file"
            needs = "key_file is" if isinstance(section, ConsoleSettings) else "key_file or client_ca_file is"
            text = f"{name}.certificate_file must be set where {needs}."
            problems.append(SettingFault(f"{name}.{wrong}", text))
        return None
    # Imported here, because OpenSSL takes 1 MiB.
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    setting, file = "certificate_file", section.certificate_file
    try:
        context.load_cert_chain(section.certificate_file, section.key_file, password=lambda: "")
        if client_ca_file:
            setting, file = "client_ca_file", client_ca_file
            context.load_verify_locations(client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        # SSLError is an OSError without a file name, but with a reason.
        reason = getattr(error, "reason", None) or error.strerror or "not usable"
        problems.append(SettingFault(f"{name}.{setting}", f"{name}.{setting}: {file}: {reason}."))
    return context
