"""Settings of services: console, intake of alerts, Kubernetes, audit events, and their HTTP server."""

from dataclasses import dataclass
from typing import Literal

from lanner.settings import forms
from lanner.settings.forms import about
from schemas.action import ClusterActionType


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Alerts on pages in a browser, by `lanner console` or in `lanner run`."""

    enabled: bool = about("Serve the console in `run`, with this host's alerts.", default=False)
    listen: str = about(
        "[ADDRESS:]PORT. An address other than loopback needs a way to sign in: tokens, a proxy or OIDC.",
        "127.0.0.1:8778",
        form=forms.listen,
    )
    state_dir: str = about(
        "Folder of the view of the alerts, which may be deleted, and of tokens, sessions and, without a broker,\n"
        "marks and audit log.",
        "/var/lib/lanner/console",
        form=forms.path,
    )
    max_alerts: int = about("The view holds at most this many alerts,", 1_000_000)
    max_days: int = about("of this many days,", 30)
    max_mib: int = about("in this many MiB; the oldest go first.", 4096)
    public_url: str | None = about(
        "URL at which browsers reach the console, such as https://console.example.com; needed for OIDC and behind a\n"
        "proxy.",
        None,
        form=forms.url,
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    archive: str | None = about(
        "Archive in which people hunt: a folder, or s3://BUCKET/PATH; by default archive.folder, if there is one.", None
    )
    hunt_seconds: int = about("A hunt ends after so many seconds, and shows what it found until then.", 300)
    hunt_memory_mib: int = about("The queries of a hunt may take so many MiB of memory; two hunts run at once.", 512)
    siem_url: str | None = about(
        "URL that opens an alert in a SIEM; {id}, {rule}, {priority}, {host}, {user}, {container}, {time}, {since},\n"
        "{until}, {since_s} and {until_s} stand for the alert's values and for the minutes around it.",
        None,
        form=forms.url_template,
    )
    tokens: bool = about("Whether people may sign in with tokens made by `lanner console token`.", default=True)
    tokens_file: str | None = about(
        "File with more tokens, such as a Secret: lines of NAME, viewer or analyst, and a random text of at least 32\n"
        "characters. It is read at the start.",
        None,
    )
    session_hours: int = about("Hours after which a session ends; an unused one ends after a quarter of them.", 12)
    proxy_addresses: tuple[str, ...] = about(
        "Addresses or networks of reverse proxies that authenticate people, such as 10.0.0.5 or 10.1.0.0/24.", ()
    )
    proxy_user_header: str = about(
        "Header in which the proxy sends the user's name.", "X-Forwarded-User", form=forms.header_name
    )
    proxy_groups_header: str = about(
        "Header in which the proxy sends the user's groups, separated by commas.",
        "X-Forwarded-Groups",
        form=forms.header_name,
    )
    oidc_issuer: str | None = about("URL of the OpenID provider that people sign in with.", None, form=forms.url)
    oidc_client_id: str | None = about("Client id at the provider.", None)
    oidc_client_secret_file: str | None = about(
        "File that holds the client's secret; or set $LANNER_CONSOLE_OIDC_SECRET.", None
    )
    oidc_scopes: tuple[str, ...] = about(
        "Scopes to request. Many providers reveal groups only with a scope for them, such as groups.",
        ("openid", "profile", "email"),
    )
    oidc_groups_claim: str = about(
        "Claim of the id token, or of UserInfo, that names the groups of a person.", "groups"
    )
    analyst_groups: tuple[str, ...] = about(
        "Groups of the proxy or provider whose members may acknowledge, assign, comment and mute.", ()
    )
    viewer_groups: tuple[str, ...] = about("Groups whose members may look; everyone who signs in if empty.", ())


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Accepts alerts from Falco over HTTP, as falcosidekick does."""

    listen: str | None = about(
        "Address and port to listen on, such as 0.0.0.0:2801; disabled by default.", None, form=forms.intake_address
    )
    token_file: str | None = about(
        "File that holds the token that senders must present, as bearer token or as password in the URL; or set\n"
        "$LANNER_INTAKE_TOKEN.",
        None,
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    client_ca_file: str | None = about(
        "PEM file of the CAs whose client certificates are accepted; if not set, none is required.", None
    )


@dataclass(frozen=True, slots=True)
class ClusterActionsSettings:
    """What `lanner kubernetes` may do in the cluster because of an alert, or by a person: docs/actions.md."""

    enabled: tuple[ClusterActionType, ...] = about(
        "Types of actions that are done in this cluster: label, isolate, cordon, evict. None unless named.", ()
    )
    key_file: str | None = about("PEM file of the Ed25519 private key that signs results.", None)
    processor_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of processors: their intents are accepted.", ()
    )
    people_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of people, each named after the person, such as ann.pub: their intents and\n"
        "decisions are accepted.",
        (),
    )
    console_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys of consoles and of notifiers that ask in Slack, which state who decided.", ()
    )
    never_namespaces: tuple[str, ...] = about(
        "Namespaces whose pods are spared, beside Kubernetes' own and that of `lanner kubernetes`; * is any text.", ()
    )
    never_nodes: tuple[str, ...] = about(
        "Nodes that are never cordoned, beside those of the control plane; * is any text.", ()
    )
    max_lease: str = about("An action that ends by itself lasts at most so long.", "1d", form=forms.duration)


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """The objects that `lanner kubernetes` reads from the API server, and where processes elect the one that reads."""

    kubeconfig: str | None = about(
        "File with the address of the API server and credentials; by default the service account of the pod. `run`\n"
        "reads the pods of its node only if this is set.",
        None,
    )
    context: str | None = about("Context of the kubeconfig; by default its current one.", None)
    lease_name: str = about("Name of the Lease that elects the one process that reads and writes.", "lanner-kubernetes")
    lease_namespace: str | None = about("Its namespace; by default that of the service account or context.", None)
    node_name: str | None = about("Name of this node, for `run`; by default $NODE_NAME, else the host name.", None)
    page_size: int = about("Objects per request while lists are read.", 500)
    deletion_delay_seconds: int = about(
        "How long the record of a deleted pod stays, so that late events still get its deployment.", 300
    )
    actions: ClusterActionsSettings = about(
        "What is done in the cluster because of an alert, or by a person.", ClusterActionsSettings
    )


@dataclass(frozen=True, slots=True)
class AuditTopicSettings:
    """A topic of any Kafka broker, or an Event Hub of Azure, with audit events."""

    name: str | None = about("Name of the topic, complete; none by default.", None)
    group: str = about("Consumer group; its members share the partitions.", "lanner-kubernetes-audit")
    bootstrap_servers: str | None = about(
        "Addresses of its brokers, host:port, separated by commas; by default the broker of `kafka`, with all of its\n"
        "settings instead of those below.",
        None,
        form=forms.servers,
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
        form=forms.intake_address,
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
        "Folder that holds how far the file was read.", "/var/lib/lanner/kubernetes-audit", form=forms.path
    )


@dataclass(frozen=True, slots=True)
class Http:
    """Address of /metrics, /healthz and /readyz; they need no password, so restrict access to them."""

    listen: str | None = about(
        "[ADDRESS:]PORT, or off. By default 127.0.0.1 and 8775 (collector), 8776 (processor), 8777 (notifier),\n"
        "8779 (kubernetes), 8780 (intake); `run` doesn't listen by default. Port 0 uses a free port, which is logged.",
        None,
        form=forms.listen,
    )
    stuck_seconds: int = about("A loop without an iteration for this long makes /healthz fail.", 60)
    oldest_undelivered_seconds: int = about("An alert that waits for a sink for longer makes /healthz fail.", 900)


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """Where `lanner archive` stores events and alerts, and for how long: docs/archive.md."""

    folder: str = about(
        "Folder, or s3://BUCKET/PATH in a store with the API of S3. Its credentials come from the environment:\n"
        "$AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_REGION, or those of the machine.",
        "/var/lib/lanner-archive",
    )
    s3_endpoint: str | None = about(
        "URL of the store, such as https://minio.example.com:9000; by default Amazon's.", None, form=forms.url
    )
    catalog: str | None = about(
        "Catalog of Iceberg tables that refer to the files: sqlite:////PATH/TO/FILE, or the URL of a REST catalog,\n"
        "whose token is $PYICEBERG_CATALOG__LANNER__TOKEN. Off by default.",
        None,
    )
    flush_seconds: int = about("A message is in a file at the latest after this many seconds,", 300)
    buffer_mib: int = about("or earlier, so that messages in memory take at most this many MiB.", 64)
    max_days: int = about("Files of messages that are older are deleted; 0 for no limit.", 365, form=forms.number)
    max_gib: int = about(
        "Beyond this many GiB, the files of the oldest hours are deleted; 0 for no limit.", 0, form=forms.number
    )
    indicator_days: int = about(
        "Events of this many days are searched for new entries of lists of indicators; 0 for none. Alerts of what is\n"
        "found have the time of their events, and `indicator.found_later`.",
        0,
        form=forms.number,
    )
