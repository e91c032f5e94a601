"""Certificates of a server that the settings describe."""

import ssl
from typing import Protocol

from lanner.settings.faults import SettingFault


class CertificateSettings(Protocol):
    """A section with a server's certificate."""

    @property
    def certificate_file(self) -> str | None:
        """PEM file of the certificate."""

    @property
    def key_file(self) -> str | None:
        """PEM file of its key."""


def server_context(
    name: str, section: CertificateSettings, problems: list[SettingFault], client_ca_file: str | None = None
) -> ssl.SSLContext | None:
    """Return the context for TLS, or None without a certificate; add errors to problems.

    Args:
        name: of the section.
        section: with certificate and key.
        problems: receives what is wrong.
        client_ca_file: PEM file of the CAs whose client certificates are required; None to require none.
    """
    if not section.certificate_file:
        if section.key_file or client_ca_file:
            wrong = "key_file" if section.key_file else "client_ca_file"
            needs = "key_file or client_ca_file is" if name == "intake" else "key_file is"
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
