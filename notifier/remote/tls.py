"""TLS to a far end: it is always verified; a certificate of our own where it asks for one."""

import ssl
from dataclasses import dataclass

from schemas.errors import LannerError


class BadCertificate(LannerError):
    """A file of certificates or keys can't be used; the message names it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; empty where there is none."""

    ca_file: str = ""
    """Authorities to trust instead of the system's."""
    certificate_file: str = ""
    key_file: str = ""


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Give a context that verifies the far end. Raises BadCertificate."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files.ca_file:
            context = ssl.create_default_context(cafile=files.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.certificate_file:
            # Without this, OpenSSL would ask for the key's password on the terminal.
            context.load_cert_chain(files.certificate_file, files.key_file or None, password=lambda: "")
    except ssl.SSLError as error:
        raise BadCertificate(f"{', '.join(filter(None, _names(files)))}: {error.reason or 'not usable'}") from None
    except OSError as error:
        raise BadCertificate(f"{', '.join(filter(None, _names(files)))}: {error.strerror}") from None
    return context


def _names(files: TlsFiles) -> tuple[str, ...]:
    return (files.ca_file, files.certificate_file, files.key_file)
