"""The commands by group: where the module of each is, and its line of help.

A module is imported when its command is called.
"""

from collections.abc import Mapping


def _group(module: str, commands: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    package = f"lanner.commands.{module}" if module else "lanner.commands"
    return {name: (f"{package}.{name}", text) for name, text in commands.items()}


RULES = (
    _group(
        "rules",
        {
            "validate": "Check rule files; report every error with its location.",
            "list": "List the rules, with priority, tags and file.",
            "show": "Show one rule after appends and overrides.",
            "explain": "Show why a rule did or didn't match an event.",
            "test": "Run the rules' tests.",
            "coverage": "Show which ATT&CK techniques the rules cover, and the gaps.",
            "lsp": "Check rule files while they are edited: a language server for editors.",
            "schema": "Print the JSON schema of rule files, for editors.",
        },
    )
    | _group(
        "rules.tuning",
        {
            "pushdown": "Show which events the rules make the kernel send, and which rules cost most.",
            "cost": "Measure what draft rules cost, before they are published.",
            "tune": "Propose exceptions from alerts, with proof of what they would hide.",
        },
    )
    | _group(
        "rules.published",
        {
            "publish": "Publish rule files to a whole fleet.",
            "pull": "Write a fleet's published rules to files.",
            "status": "Show which version each processor runs.",
        },
    )
    | {"convert": ("lanner.commands.rules.convert", "Convert rules of other tools: Sigma.")}
)
CONVERT = _group("rules.convert", {"sigma": "Convert Sigma rules for Linux."})
ELSEWHERE = {"version": "lanner --version", "help": "lanner --help", **{name: f"lanner rules {name}" for name in RULES}}
"""Commands that people expect at another place."""
TOPICS = _group(
    "topics",
    {"create": "Create missing topics, check existing ones.", "acls": "Grant a stage the rights it needs."},
)
HOSTS = _group(
    "hosts",
    {
        "list": "List host keys: enrolled, pinned, revoked, announced.",
        "enroll": "Accept a host's key.",
        "revoke": "Stop accepting a host's messages.",
        "forget": "Forget a host: it is treated as new.",
    },
)
DLQ = _group(
    "dlq",
    {
        "list": "List dead letters.",
        "show": "Show a dead letter in full.",
        "replay": "Retry dead letters.",
        "drop": "Discard dead letters.",
    },
)
STATE = _group(
    "state",
    {
        "list": "List stateful macros with the groups and values that they remember.",
        "show": "Show the values that a macro of type first_seen knows.",
        "learn": "Teach macros of type first_seen what retained events show.",
        "reset": "Make a stateful macro forget.",
    },
)
ALERTS = _group("alerts", {"tail": "Print alerts as they arrive.", "list": "Print stored alerts."})
EVENTS = _group("events", {"tail": "Print the collector's events, one line each."})
CONFIG = _group(
    "config",
    {
        "default": "Print all settings with their defaults.",
        "check": "Check the settings file.",
        "show": "Print the effective settings.",
        "schema": "Print the JSON schema of the settings file, for editors.",
    },
) | {"import": ("lanner.commands.config.import_settings", "Convert falcosidekick's or Falco's settings.")}
CONSOLE = {"token": ("lanner.commands.console.token", "Make, list and revoke tokens to sign in with.")}
COLLECTOR = {
    "build-cache": (
        "lanner.commands.collector.build_cache",
        "Compile the eBPF program for hosts that can't compile it.",
    ),
    "key": ("lanner.commands.collector.key", "Print this host's id and public key, to enroll it."),
}
INTAKE = {
    "kubernetes-audit": (
        "lanner.commands.intake.kubernetes_audit",
        "Take audit events of Kubernetes API servers.",
    )
}
COMMANDS = {
    **_group("", {
        "run": "Watch this host: all stages in this process, alerts on standard output.",
        "demo": "Run harmless actions and check that the built-in rules detect them.",
    }),
    **_group("operations", {
        "doctor": "Check what this host supports, and how to fix what is missing.",
        "sizing": "Compute the cores, memory, disk and network that a fleet needs.",
    }),
    "rules": ("lanner.commands.rules", "Check, list and show rules."),
    **_group("recorder", {
        "replay": "Run recorded events through the rules.",
        "record": "Record events to a file.",
    }),
    "events": ("lanner.commands.events", "Show events."),
    **_group("", {
        "collector": "Send this host's events to Kafka.",
        "processor": "Evaluate a fleet's events.",
        "notifier": "Deliver a fleet's alerts to Slack, syslog and SIEM topics.",
        "kubernetes": "Publish a cluster's pods, with owners and services, for alerts.",
    }),
    "intake": ("lanner.commands.intake", "Take events of other systems: Kubernetes audit events."),
    "console": ("lanner.commands.console", "Show alerts in a browser: grouped, searchable, live."),
    "alerts": ("lanner.commands.alerts", "Show alerts of this host or of a fleet."),
    **_group("recorder", {"context": "Show what happened on a host around an alert."}),
    **_group("", {
        "hosts": "Show a fleet's hosts, silent ones first; manage their keys.",
    }),
    "dlq": ("lanner.commands.dlq", "Show, replay or drop dead letters."),
    "state": ("lanner.commands.state", "Show and reset what stateful rules remember."),
    "topics": ("lanner.commands.topics", "Create and check a fleet's topics and ACLs."),
    **_group("", {"fields": "List the fields that rules can use."}),
    "config": ("lanner.commands.config", "Print, check and convert settings."),
    **_group("", {"completion": "Print a script that lets a shell complete commands and options."}),
}  # fmt: skip


TASKS = {
    "Watch this host": ("run", "demo", "doctor"),
    "Rules": ("rules", "fields", "replay"),
    "Investigate": ("console", "alerts", "context", "events", "record"),
    "Run a fleet": ("collector", "processor", "notifier", "kubernetes", "intake"),
    "Manage a fleet": ("hosts", "state", "topics", "dlq", "sizing"),
    "Settings": ("config", "completion"),
}
"""The commands by task, as `--help` shows them."""
