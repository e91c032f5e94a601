"""Settings of the alerts that come in by HTTP."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Takes alerts from Falco by HTTP, as falcosidekick does."""

    listen: str | None = about("Address and port, such as 0.0.0.0:2801; nothing listens, if not set.", None)
    token_file: str | None = about(
        "File that holds the token that senders must show, as a bearer's or as the password in the URL; or put it\n"
        "into $LANNER_INTAKE_TOKEN.",
        None,
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP, if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    client_ca_file: str | None = about(
        "PEM file of the authorities whose client certificates are let in; no certificate is asked for, if not set.",
        None,
    )
