"""TLS for clients: the server is always verified; a client certificate is optional."""

import ssl
from dataclasses import dataclass

from schemas.errors import LannerError


class BadCertificate(LannerError):
    """A certificate or key file can't be used; the message names it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files; an empty path means none."""

    ca_file: str = ""
    """Authorities to trust instead of the system's."""
    certificate_file: str = ""
    key_file: str = ""


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that verifies the server. Raises BadCertificate."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if files.ca_file:
            context = ssl.create_default_context(cafile=files.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if files.certificate_file:
            # Without a password callback, OpenSSL would prompt for the key's password on the terminal.
            context.load_cert_chain(files.certificate_file, files.key_file or None, password=lambda: "")
    except ssl.SSLError as error:
        raise BadCertificate(f"{', '.join(filter(None, _names(files)))}: {error.reason or 'not usable'}") from None
    except OSError as error:
        raise BadCertificate(f"{', '.join(filter(None, _names(files)))}: {error.strerror}") from None
    return context


def _names(files: TlsFiles) -> tuple[str, ...]:
    return (files.ca_file, files.certificate_file, files.key_file)
