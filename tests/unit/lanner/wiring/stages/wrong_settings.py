"""Settings files that are wrong, each with what is reported; and right ones. FOLDER stands for a folder of the test."""

WRONG = {
    # Names, types and values.
    "prioriti: debug": ["1:1: there is no setting 'prioriti'", "did you mean priority?"],
    "priority: hihg": ["1:11: priority must be one of"],
    "priority: criticl": ["1:11: priority must be one of", "did you mean critical?"],
    "file_output: {enabld: true}": [
        "1:15: there is no setting 'file_output.enabld'",
        "did you mean file_output.enabled?",
    ],
    "file_output: {enabled: maybe}": ["1:24: file_output.enabled must be true or false, not 'maybe'."],
    "file_output: [x]": ["1:14: file_output must be a mapping"],
    "rules: {disable: {rule: x}}": ["1:8: rules must be a list."],
    "rules: [{disabl: {rule: x}}]": ["1:10: there is no setting 'rules[0].disabl'", "did you mean rules[0].disable?"],
    "priority: debug\npriority: info": ["2:1: 'priority' is given twice, first at"],
    "priority: [": ["3:1: not YAML"],
    "a: 1\n---\nb: 2": ["3:1: settings are one document."],
    "collector: {batch_ms: 0}": ["1:23: collector.batch_ms must be a positive integer, not 0."],
    "collector: {ring_mib: 3}": ["1:23: collector.ring_mib must be a power of two, at most 1024, not 3."],
    "collector: {lifecycle_ring_mib: 4096}": ["1:33: collector.lifecycle_ring_mib must be a power of two"],
    "slack_output: {token: made-up-token}": [
        "1:16: there is no setting 'slack_output.token'",
        "1 | slack_output: {token: *************}",
        "did you mean slack_output.token_file?",
    ],
    "sinks: {pd: {url: 'http://127.0.0.1/'}}": ["1:9: sinks.pd.type must be one of"],
    "sinks: {pd: {type: webook}}": ["1:20: sinks.pd.type must be one of", "did you mean webhook?"],
    "sinks: {slack: {type: slack}}": ["1:9: sinks.slack: this name is taken."],
    "redact: [default, 'a(b']": ["1:19: redact[1]: 'a(b' is not a valid RE2 regular expression"],
    "json_sources: [{source: githb}]": ["1:25: json_sources[0].source: unknown source 'githb'; did you mean 'github'?"],
    "json_sources: [{mapping: /nonexistent.yaml}]": [
        "1:26: json_sources[0].mapping: /nonexistent.yaml: No such file or directory."
    ],
    # Ports, addresses and times.
    "syslog_output: {port: 99999}": ["1:23: syslog_output.port must be a port from 1 to 65535, not 99999."],
    "syslog_output: {port: 0}": ["1:23: syslog_output.port must be a port from 1 to 65535, not 0."],
    "syslog_output: {port: syslog}": ["1:23: syslog_output.port must be a positive integer, not 'syslog'."],
    "http: {listen: localhost}": ["1:16: http.listen must be a port, an address and a port", "not 'localhost'."],
    "http: {listen: '0.0.0.0:70000'}": ["1:16: http.listen must be a port"],
    "http: {listen: ':8775'}": ["1:16: http.listen must be a port"],
    "kubernetes_audit: {listen: '8765'}": ["1:28: kubernetes_audit.listen must be host:port"],
    "intake: {listen: '2801'}": ["1:18: intake.listen must be host:port"],
    "kafka: {bootstrap_servers: 'kafka-1:x'}": ["1:28: kafka.bootstrap_servers must be addresses of brokers"],
    "kafka: {bootstrap_servers: ''}": ["1:28: kafka.bootstrap_servers must be addresses of brokers"],
    "kafka: {schema_registry_url: registry}": ["1:30: kafka.schema_registry_url must be an http:// or https:// URL"],
    "slack_output: {api_url: slack.com}": ["1:25: slack_output.api_url must be an http:// or https:// URL"],
    "webhook_output: {url: made-up-secret}": [
        "1:23: webhook_output.url must be an http:// or https:// URL.",
        "1 | webhook_output: {url: **************}",
    ],
    "mute: [{match: {rule: x}, until: tomorrow}]": ["1:34: mute[0].until must be a date and time", "not 'tomorrow'."],
    "mute: [{until: 2027-01-31T00:00:00}]": ["1:16: mute[0].until must be a date and time with a zone"],
    # Paths.
    "rules_files: [/nope.yaml]": ["1:15: /nope.yaml: no such rule file or folder."],
    "rules_files: [FOLDER/empty]": ["1:1: empty/: no rule files (*.yaml)."],
    "rules_files: [FOLDER/broken.yaml]": ["FOLDER/broken.yaml:2:15: error LOAD_ERR_COMPILE_CONDITION"],
    "file_output: {enabled: true, filename: ''}": ["1:40: file_output.filename must be a path, not ''."],
    "file_output: {enabled: true, filename: FOLDER}": ["1:40: file_output.filename: FOLDER: is a folder."],
    "file_output: {enabled: true, filename: /proc/alerts.log}": ["/proc is of the kernel (proc), where no file can be"],
    "file_output: {enabled: true, filename: FOLDER/file/x}": ["FOLDER/file/x: FOLDER/file is not a folder."],
    "sinks: {audit: {type: file, filename: FOLDER}}": ["1:39: sinks.audit.filename: FOLDER: is a folder."],
    "keep: {size_mib: -1}": ["1:18: keep.size_mib must be a positive integer, not '-1'."],
    "collector: {always_sent: [execve, lisen]}": [
        "1:35: collector.always_sent[1]: 'lisen' is not an event type that the collector supports.",
        "did you mean listen?",
    ],
    "keep: {folder: ''}": ["1:16: keep.folder must be a path"],
    "memory: {filename: ''}": ["1:20: memory.filename must be a path"],
    "notifier: {state_dir: ''}": ["1:23: notifier.state_dir must be a path"],
    "notifier: {state_dir: FOLDER/file}\nwebhook_output: {enabled: true, url: 'http://127.0.0.1:9/'}": [
        "1:23: notifier.state_dir: FOLDER/file: FOLDER/file is not a folder."
    ],
    "kubernetes: {kubeconfig: /nope}": ["1:26: the API server can't be used"],
    # Rules, routes and outputs.
    "append_output: [{extra_output: 'x %proc.nam %fd.nme'}]": [
        "1:35: append_output[0].extra_output: invalid formatting token proc.nam.",
        "did you mean 'proc.name'?",
        "1:45: append_output[0].extra_output: invalid formatting token fd.nme.",
    ],
    "append_output: [{extra_fields: [evt.type, proc.nam]}]": [
        "1:43: append_output[0].extra_fields[1]: 'proc.nam' is not a field of outputs.",
        "did you mean 'proc.name'?",
    ],
    "append_output: [{extra_fields: [{who: '%user.nam'}]}]": [
        "1:40: append_output[0].extra_fields[0].who: invalid formatting token user.nam."
    ],
    "append_output: [{extra_output: '100%'}]": ["1:36: append_output[0].extra_output: invalid formatting syntax"],
    "routes: [{sink: slak}]": ["1:17: routes[0].sink must be one of", "not 'slak'.", "did you mean slack?"],
    "routes: [{match: proc.nam = x, sink: stdout}]": [
        "1:18: routes[0].match: filter_check called with nonexistent field proc.nam.",
        "did you mean 'proc.name'?",
    ],
    "routes:\n- match:\n    condition: >\n      proc.name = a or\n      contaner\n  sink: stdout": [
        "5:7: routes[0].match: Undefined macro 'contaner' used in filter.",
        "5 |       contaner",
        "did you mean 'container'?",
    ],
    "mute: [{match: 'proc.name ='}]": ["1:27: mute[0].match: "],
    "routes: [{sink: stdout, template: 'by %proc.nmae of %fd.nam'}]": [
        "1:39: routes[0].template: invalid formatting token proc.nmae.",
        "1:53: routes[0].template: invalid formatting token fd.nam.",
    ],
    "routes: [{sink: stdout, channel: '#x'}]": ["1:34: routes[0].channel: stdout has no channels; only slack has."],
    "routes: [{sink: siem.ecs, template: x}]": ["1:37: routes[0].template: siem.ecs sends documents"],
    # Sinks without what they need.
    "slack_output: {enabled: true}": [
        "1:25: slack_output needs a webhook URL or a token.",
        "set slack_output.webhook_url",
    ],
    "slack_output: {enabled: true, webhook_url_file: /nope}": [
        "1:49: slack_output.webhook_url_file: /nope: No such file or directory."
    ],
    "slack_output: {enabled: true, webhook_url_file: FOLDER/secret}": [
        "1:49: slack_output.webhook_url_file: it does not"
    ],
    "slack_output: {enabled: true, token_file: FOLDER/secret}": [
        "1:43: slack_output.channel must be set where a bot's"
    ],
    "slack_output: {enabled: true, webhook_url_file: FOLDER/url}\nroutes: [{sink: slack, channel: '#x'}]": [
        "2:33: routes[0].channel: an incoming webhook has one channel.",
        "set slack_output.token_file",
    ],
    "webhook_output: {enabled: true}": ["1:27: webhook_output needs a URL.", "set webhook_output.url or url_file"],
    "webhook_output: {enabled: true, url_file: /nope}": ["1:43: webhook_output.url_file: /nope: No such file"],
    "webhook_output: {enabled: true, url: 'http://u:p@127.0.0.1/'}": [
        "1:38: webhook_output.url: it must not hold a user name or password."
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', format: splunk_hec}": ["1:67: no token for Splunk."],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', format: template}": [
        "1:67: webhook_output.template_file must be set where"
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', format: template, template_file: FOLDER/bad.j2}": [
        "1:92: webhook_output.template_file: FOLDER/bad.j2:1: "
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', headers: [{name: 'a b', value: x}]}": [
        "1:76: webhook_output.headers[0].name must be the name of an HTTP header, not 'a b'."
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', headers: [{name: Host, value: x}]}": [
        "1:76: webhook_output.headers[0].name: Host is set by Lanner itself."
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', headers: [{name: A, value_file: /nope}]}": [
        "1:91: webhook_output.headers[0].value_file: /nope: No such file"
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', ca_file: /nope}": [
        "1:68: webhook_output.ca_file: /nope: missing, or not readable by this user."
    ],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', ca_file: FOLDER/secret}": ["1:68: webhook_output: "],
    "webhook_output: {enabled: true, url: 'http://127.0.0.1/', key_file: FOLDER/secret}": [
        "1:69: webhook_output.certificate_file must be set where key_file is."
    ],
    "apprise_output: {enabled: true}": ["1:27: apprise_output needs URLs.", "set apprise_output.urls_file"],
    "apprise_output: {enabled: true, urls_file: FOLDER/secret}": ["1:44: apprise_output: "],
    "syslog_output: {enabled: true, transport: tls, certificate_file: /nope}": [
        "1:66: syslog_output.certificate_file: /nope: missing, or not readable by this user."
    ],
    "sinks: {hec: {type: webhook}}": ["sinks.hec needs a URL.", "$LANNER_SINK_HEC_URL"],
    # All at once, and nothing that only follows from another error.
    "priority: hihg\nwebhook_output: {enabled: true, ulr: x}\nroutes: [{sink: slak, channel: x, match: fd.nam = x}]": [
        "1:11: priority must be one of",
        "2:33: there is no setting 'webhook_output.ulr'",
        "3:17: routes[0].sink must be one of",
        "3:42: routes[0].match: filter_check called with nonexistent field fd.nam.",
    ],
}
RIGHT = (
    "",
    "priority: notice\njson_output: on\nrules: [{disable: {rule: '*'}}, {enable: {tag: a}}]",
    "file_output: {enabled: true, filename: FOLDER/new/alerts.log, rotate_mib: 1}",
    "syslog_output: {enabled: true, transport: udp, port: 65535}",
    "syslog_output: {enabled: true}",
    "webhook_output: {enabled: true, url: 'https://127.0.0.1:9/x', headers: [{name: A, value: x}]}",
    "webhook_output: {enabled: true, url: 'http://127.0.0.1:9/', format: template, template_file: FOLDER/good.j2}",
    "slack_output: {enabled: true, token_file: FOLDER/secret, channel: '#x'}\nroutes: [{sink: slack, channel: '#y'}]",
    "slack_output: {enabled: true, webhook_url_file: FOLDER/url}",
    "sinks: {hec: {type: webhook, url: 'http://127.0.0.1:9/', format: splunk_hec, token_file: FOLDER/secret}}",
    "routes: [{match: container and proc.name = x, sink: stdout, template: '%fd.name, %ka.user.name'}]",
    "mute: [{match: {rule: x}, until: 2027-01-31T00:00:00Z}, {match: proc.name = x, until: '2027-01-31T00:00+01:00'}]",
    "append_output: [{extra_output: '%proc.pid', extra_fields: [evt.cpu, 'proc.aname[2]', {x: '%user.name!'}]}]",
    "keep: {size_mib: 1, folder: FOLDER/kept}",
    "keep: {size_mib: 0}",
    "http: {listen: '127.0.0.1:0'}\ncollector: {ring_mib: 32}",
    "rules_files: [FOLDER/rules.yaml]",
)
