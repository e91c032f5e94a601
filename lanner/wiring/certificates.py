"""Certificates of a server that the settings describe."""

import os
import ssl
from collections.abc import Mapping

from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.services import ConsoleSettings, IntakeSettings, KubernetesAuditSettings
from lanner.wiring.kafka import secret


def server_secrets(
    name: str, section: IntakeSettings | KubernetesAuditSettings, environment: Mapping[str, str] = os.environ
) -> tuple[str, ssl.SSLContext | None]:
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
) -> ssl.SSLContext | None:
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
