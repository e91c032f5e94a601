"""Settings of the alerts received over HTTP."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Accepts alerts from Falco over HTTP, as falcosidekick does."""

    listen: str | None = about(
        "Address and port to listen on, such as 0.0.0.0:2801; disabled by default.", None, form=values.intake_address
    )
    token_file: str | None = about(
        "File that holds the token that senders must present, as bearer token or as password in the URL; or set\n"
        "$LANNER_INTAKE_TOKEN.",
        None,
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    client_ca_file: str | None = about(
        "PEM file of the CAs whose client certificates are accepted; if not set, none is required.",
        None,
    )
