"""Rules of every kind, for what honest hosts do and for what a hostile one does."""

OUTPUT = (
    "%fd.name %proc.cmdline %proc.exepath %proc.aname[2] %user.name %container.image.repository %evt.args %evt.rawres "
    "%fd.sip %fd.sport %proc.env[PATH] %evt.hostname"
)
"""Output of the rules about a hostile host: names what it can fill."""


def rules(secret: str) -> str:
    """Return the rules.

    Args:
        secret: begins the paths of honest hosts' acts, and nothing that a hostile host sends.
    """
    return f"""
- list: evil_words
  items: [evil, "../", "%s"]
- macro: three_acts
  condition: evt.type = openat and fd.name startswith /{secret}/act/
  correlation: {{type: event_count, group-by: [fd.nameraw], timespan: 1h, condition: {{gte: 3}}}}
- macro: three_hosts
  condition: evt.type = openat and fd.name startswith /{secret}/act/
  correlation:
    type: value_count
    group-by: [fd.nameraw]
    timespan: 1h
    condition: {{field: evt.hostname, gte: 3}}
- macro: first_step
  condition: evt.type = openat and fd.name startswith /{secret}/first/
- macro: second_step
  condition: evt.type = openat and fd.name startswith /{secret}/second/
- macro: both_steps
  correlation: {{type: temporal_ordered, macros: [first_step, second_step], group-by: [fd.nameraw], timespan: 1h}}
- macro: evil_acts
  condition: evt.type = openat and fd.name startswith /evil/
  correlation: {{type: event_count, group-by: [fd.nameraw], timespan: 1m, condition: {{gte: 2}}}}
- macro: evil_values
  condition: evt.type = openat and fd.name startswith /evil/
  correlation:
    type: value_count
    group-by: [proc.name]
    timespan: 10s
    condition: {{field: fd.name, gte: 3}}
- macro: evil_open
  condition: evt.type = openat and fd.name startswith /evil/
- macro: evil_other
  condition: evt.type in (connect, execve, unlink) and proc.name exists
- macro: evil_steps
  correlation: {{type: temporal_ordered, macros: [evil_open, evil_other], group-by: [proc.pid], timespan: 1h}}
- rule: Honest act
  desc: By one event.
  condition: evt.type = openat and fd.name startswith /{secret}/act/
  output: act %fd.name on %evt.hostname by %proc.cmdline
  priority: NOTICE
- rule: Honest acts
  desc: By a count over hosts.
  condition: three_acts
  output: "%correlation.count acts since %correlation.first, the last %fd.name"
  priority: WARNING
- rule: Honest hosts
  desc: By different hosts.
  condition: three_hosts
  output: "%correlation.count hosts %correlation.values, the last %fd.name"
  priority: WARNING
- rule: Honest steps
  desc: By two hosts, one after the other.
  condition: both_steps
  output: "%correlation.leg[first_step].fd.name, then %fd.name"
  priority: CRITICAL
- rule: Honest repeats
  desc: Reported once, then as a sum.
  condition: evt.type = openat and fd.name startswith /{secret}/again/
  output: again %fd.name
  priority: NOTICE
  suppress: {{by: [fd.name], for: 20s}}
- rule: Evil act
  desc: By one event.
  condition: evt.type = openat and fd.name startswith /evil/
  output: "{OUTPUT}"
  priority: NOTICE
- rule: Evil acts
  desc: By a count.
  condition: evil_acts
  output: "%correlation.count {OUTPUT}"
  priority: NOTICE
- rule: Evil values
  desc: By different values.
  condition: evil_values
  output: "%correlation.values {OUTPUT}"
  priority: NOTICE
- rule: Evil steps
  desc: One after the other.
  condition: evil_steps
  output: "%correlation.leg[evil_open].fd.name %proc.cmdline"
  priority: NOTICE
- rule: Evil repeats
  desc: Reported once, then as a sum.
  condition: evt.type in (connect, execve, unlink)
  output: "{OUTPUT}"
  priority: NOTICE
  suppress: {{by: [evt.type, proc.name], for: 2s}}
- rule: Evil content
  desc: Looks at whatever there is.
  condition: >
    evt.type in (openat, connect, execve, unlink) and not fd.name startswith /{secret}/ and not proc.name = systemd and
    (proc.cmdline icontains "EVIL" or proc.args regex "(a+)+b" or fd.name glob "/evil/*/[a-z]*" or
    fd.name pmatch (/evil, /tmp) or proc.aname[2] in (evil_words) or fd.snet in ("10.0.0.0/8") or evt.rawres < 0 or
    proc.pname contains x or b64(proc.args) contains evil or evt.arg.flags contains O_RDONLY or user.uid > 1000 or
    container.image.repository endswith evil or fd.sport < 1024 or proc.duration > 0)
  output: "{OUTPUT}"
  priority: NOTICE
"""
