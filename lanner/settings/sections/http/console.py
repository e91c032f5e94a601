"""Settings of the console."""

from dataclasses import dataclass

from lanner.settings.about import about
from lanner.settings.forms import values


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Alerts on pages in a browser, by `lanner console` or in `lanner run`."""

    enabled: bool = about("Serve the console in `run`, with this host's alerts.", default=False)
    listen: str = about(
        "[ADDRESS:]PORT. An address other than loopback needs a way to sign in: tokens, a proxy or OIDC.",
        "127.0.0.1:8778",
        form=values.listen,
    )
    state_dir: str = about(
        "Folder of the view of the alerts, which may be deleted, and of tokens, sessions and, without a broker,\n"
        "marks and audit log.",
        "/var/lib/lanner/console",
        form=values.path,
    )
    max_alerts: int = about("The view holds at most this many alerts,", 1_000_000)
    max_days: int = about("of this many days,", 30)
    max_mib: int = about("in this many MiB; the oldest go first.", 4096)
    public_url: str | None = about(
        "URL at which browsers reach the console, such as https://console.example.com; needed for OIDC and behind a\n"
        "proxy.",
        None,
        form=values.url,
    )
    certificate_file: str | None = about("PEM file of the server's certificate; plain HTTP if not set.", None)
    key_file: str | None = about("PEM file of its key.", None)
    siem_url: str | None = about(
        "URL that opens an alert in a SIEM; {id}, {rule}, {priority}, {host}, {user}, {container}, {time}, {since},\n"
        "{until}, {since_s} and {until_s} stand for the alert's values and for the minutes around it.",
        None,
        form=values.url_template,
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
        "Header in which the proxy sends the user's name.", "X-Forwarded-User", form=values.header_name
    )
    proxy_groups_header: str = about(
        "Header in which the proxy sends the user's groups, separated by commas.",
        "X-Forwarded-Groups",
        form=values.header_name,
    )
    oidc_issuer: str | None = about("URL of the OpenID provider that people sign in with.", None, form=values.url)
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
