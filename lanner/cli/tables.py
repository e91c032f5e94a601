"""The commands by group: the module of each below lanner, and its line of help.

A module is imported when its command is called. A command's name is unique in its module.
"""

RULES = {
    "validate": ("commands.rules.check", "Check rule files; report every error with its location."),
    "list": ("commands.rules.show", "List the rules, with priority, tags and file."),
    "show": ("commands.rules.show", "Show one rule after appends and overrides."),
    "explain": ("commands.rules.explain", "Show why a rule did or didn't match an event."),
    "test": ("commands.rules.test", "Run the rules' tests."),
    "coverage": ("commands.rules.show", "Show which ATT&CK techniques the rules cover, and the gaps."),
    "lsp": ("commands.rules.check", "Check rule files while they are edited: a language server for editors."),
    "schema": ("commands.rules.check", "Print the JSON schema of rule files, for editors."),
    "pushdown": ("commands.rules.cost", "Show which events the rules make the kernel send, and which rules cost most."),
    "cost": ("commands.rules.cost", "Measure what draft rules cost, before they are published."),
    "backtest": ("commands.rules.backtest", "Count what rules would have alerted on in stored events, with examples."),
    "tune": ("commands.rules.tune", "Propose exceptions from alerts, with proof of what they would hide."),
    "publish": ("commands.rules.published", "Publish rule files to a whole fleet."),
    "pull": ("commands.rules.published", "Write a fleet's published rules to files."),
    "status": ("commands.rules.published", "Show which version each processor runs."),
    "convert": ("commands.rules.check", "Convert rules of other tools: Sigma."),
}
CONVERT = {"sigma": ("commands.rules.check", "Convert Sigma rules for Linux.")}
ELSEWHERE = {"version": "lanner --version", "help": "lanner --help", **{name: f"lanner rules {name}" for name in RULES}}
"""Commands that people expect at another place."""
TOPICS = {
    "create": ("commands.topics", "Create missing topics, check existing ones."),
    "acls": ("commands.topics", "Grant a stage the rights it needs."),
}
HOSTS = {
    "list": ("commands.hosts", "List host keys: enrolled, pinned, revoked, announced."),
    "enroll": ("commands.hosts", "Accept a host's key."),
    "revoke": ("commands.hosts", "Stop accepting a host's messages."),
    "forget": ("commands.hosts", "Forget a host: it is treated as new."),
}
DLQ = {
    "list": ("commands.dlq", "List dead letters."),
    "show": ("commands.dlq", "Show a dead letter in full."),
    "replay": ("commands.dlq", "Retry dead letters."),
    "drop": ("commands.dlq", "Discard dead letters."),
}
STATE = {
    "list": ("commands.state", "List stateful macros with the groups and values that they remember."),
    "show": ("commands.state", "Show the values that a macro of type first_seen knows."),
    "learn": ("commands.state", "Teach macros of type first_seen what retained events show."),
    "reset": ("commands.state", "Make a stateful macro forget."),
}
ALERTS = {
    "tail": ("commands.alerts", "Print alerts as they arrive."),
    "list": ("commands.alerts", "Print stored alerts."),
}
ACTIONS = {
    "list": ("commands.actions", "List action policies, with the rules that request them."),
    "simulate": ("commands.actions", "Count what action policies would have hit in stored events."),
    "pending": ("commands.decisions", "List actions that wait for approval."),
    "log": ("commands.decisions", "List actions with their states, the reasons, and who decided."),
    "approve": ("commands.decisions", "Approve an action."),
    "reject": ("commands.decisions", "Reject an action."),
    "undo": ("commands.decisions", "Undo an action."),
    "extend": ("commands.decisions", "Make an action last longer."),
    "do": ("commands.actions_by_hand", "Act by hand: freeze, isolate, kill, quarantine, lock, collect."),
    "stop": ("commands.decisions", "Stop all actions on all hosts."),
    "resume": ("commands.decisions", "Let all hosts act again."),
    "reset": ("commands.decisions", "Reset the fuse of an action policy."),
    "accept": ("commands.simulations", "Sign a recorded simulation, so that its policies may act."),
    "serve": ("commands.services.actions", "Do on this host what policies and people request."),
}
EVENTS = {"tail": ("commands.events", "Print the collector's events, one line each.")}
CONFIG = {
    "default": ("commands.config", "Print all settings with their defaults."),
    "check": ("commands.config", "Check the settings file."),
    "show": ("commands.config", "Print the effective settings."),
    "schema": ("commands.config", "Print the JSON schema of the settings file, for editors."),
    "import": ("commands.config", "Convert falcosidekick's or Falco's settings."),
}
CONSOLE = {"token": ("commands.services.console", "Make, list and revoke tokens to sign in with.")}
COLLECTOR = {"key": ("commands.services.collector", "Print this host's id and public key, to enroll it.")}
INTAKE = {"kubernetes-audit": ("commands.services.kubernetes", "Take audit events of Kubernetes API servers.")}
COMMANDS = {
    "run": ("commands.services.run", "Watch this host: all stages in this process, alerts on standard output."),
    "status": ("commands.operations", "Show whether detection is current: lag, losses, silent hosts, sinks, disks."),
    "demo": ("commands.demo", "Run harmless actions and check that the built-in rules detect them."),
    "prove": ("commands.prove", "Run attack steps of Atomic Red Team, and report what is detected."),
    "doctor": ("commands.operations", "Check what this host supports, and how to fix what is missing."),
    "sizing": ("commands.operations", "Compute the cores, memory, disk and network that a fleet needs."),
    "inventory": ("commands.inventory", "List the packages that living processes have loaded, as CycloneDX."),
    "rules": ("commands.rules", "Check, list and show rules."),
    "actions": ("commands.actions", "Show and decide about actions, and what policies would hit."),
    "replay": ("commands.replay", "Run recorded events through the rules."),
    "record": ("commands.events", "Record events to a file."),
    "events": ("commands.events", "Show events."),
    "collector": ("commands.services.collector", "Send this host's events to Kafka."),
    "processor": ("commands.services.processor", "Evaluate a fleet's events."),
    "notifier": ("commands.services.notifier", "Deliver a fleet's alerts to Slack, syslog and SIEM topics."),
    "kubernetes": ("commands.services.kubernetes", "Publish a cluster's pods, with owners and services, for alerts."),
    "intake": ("commands.services.kubernetes", "Take events of other systems: Kubernetes audit events."),
    "archive": ("commands.services.archive", "Store a fleet's events and alerts as Parquet files, for months."),
    "console": ("commands.services.console", "Show alerts in a browser: grouped, searchable, live."),
    "alerts": ("commands.alerts", "Show alerts of this host or of a fleet."),
    "context": ("commands.context", "Show what happened on a host around an alert."),
    "hunt": ("commands.hunt", "Find stored events by a condition, or by SQL."),
    "hosts": ("commands.hosts", "Show a fleet's hosts, silent ones first; manage their keys."),
    "dlq": ("commands.dlq", "Show, replay or drop dead letters."),
    "state": ("commands.state", "Show and reset what stateful rules remember."),
    "topics": ("commands.topics", "Create and check a fleet's topics and ACLs."),
    "fields": ("commands.fields", "List the fields that rules can use."),
    "config": ("commands.config", "Print, check and convert settings."),
    "completion": ("cli.app", "Print a script that lets a shell complete commands and options."),
}

TASKS = {
    "Watch this host": ("run", "status", "demo", "prove", "doctor", "inventory"),
    "Rules": ("rules", "actions", "fields", "replay"),
    "Investigate": ("console", "alerts", "context", "hunt", "events", "record"),
    "Run a fleet": ("collector", "processor", "notifier", "kubernetes", "intake", "archive"),
    "Manage a fleet": ("hosts", "state", "topics", "dlq", "sizing"),
    "Settings": ("config", "completion"),
}
"""The commands by task, as `--help` shows them."""
