"""Settings of the intake of Kubernetes audit events."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class KubernetesAuditSettings:
    """Where `lanner intake kubernetes-audit` takes audit events from: docs/kubernetes-audit.md."""

    listen: str | None = about(
        "Address and port on which API servers post events, such as 0.0.0.0:8765; disabled by default.",
        None,
        form=values.audit_address,
    )
    token_file: str | None = about(
        "File that holds the bearer token that API servers must present; or set $LANNER_KUBERNETES_AUDIT_TOKEN.", None
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    client_ca_file: str | None = about(
        "PEM file of the CAs whose client certificates are accepted; if not set, none is required.", None
    )
    file: str | None = about("Audit log to follow, over its rotations: a file of JSON, one event a line.", None)
    state_dir: str = about(
        "Folder that holds how far the file was read.", "/var/lib/lanner/kubernetes-audit", form=values.path
    )
