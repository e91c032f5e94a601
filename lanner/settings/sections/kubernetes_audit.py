"""Settings of the intake of Kubernetes audit events."""

from dataclasses import dataclass
from typing import Literal

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class AuditTopicSettings:
    """A topic of any Kafka broker, or an Event Hub of Azure, that holds audit events."""

    name: str | None = about("Name of the topic, complete; none by default.", None)
    group: str = about("Consumer group; its members share the partitions.", "lanner-kubernetes-audit")
    bootstrap_servers: str | None = about(
        "Addresses of its brokers, host:port, separated by commas; by default the broker of `kafka`, with all of its\n"
        "settings instead of those below.",
        None,
        form=values.servers,
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = about(
        "plaintext, ssl, sasl_plaintext or sasl_ssl.", "sasl_ssl"
    )
    sasl_mechanism: Literal["plain", "scram-sha-256", "scram-sha-512"] = about(
        "plain, scram-sha-256 or scram-sha-512.", "plain"
    )
    username: str | None = about("User name for SASL; $ConnectionString for an Event Hub.", None)
    password_file: str | None = about(
        "File that holds the password, for an Event Hub the connection string; or set\n"
        "$LANNER_KUBERNETES_AUDIT_TOPIC_PASSWORD.",
        None,
    )
    ca_file: str | None = about("PEM file of the CAs to trust; by default the system's.", None)


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
    file: str | None = about(
        "Audit log to follow, over its rotations: a file of JSON, one event a line. `run` evaluates it as well.", None
    )
    topic: AuditTopicSettings = about(
        "Topic to read: events, lists of them, envelopes of Event Hubs and CloudWatch, or Cloud Logging's entries.",
        AuditTopicSettings,
    )
    state_dir: str = about(
        "Folder that holds how far the file was read.", "/var/lib/lanner/kubernetes-audit", form=values.path
    )
