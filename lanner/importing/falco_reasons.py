"""Why settings of Falco are not carried over: one line for each, or for each section.

Source: falco.yaml as shipped, and the schema of Falco's settings.
"""

REASONS = {
    "base_syscalls": "the rules determine which system calls are watched; collector.always_sent adds some.",
    "buffer_format_base64": "bytes that are not text are escaped in alerts.",
    "buffered_outputs": "output is never buffered.",
    "capture": "`lanner run` records the newest events anyway, of keep.size_mib; `lanner context` shows them.",
    "config_files": "Lanner reads one settings file: import these files as well, and merge the results.",
    "container_engines": "container runtimes are found without settings.",
    "engine.kind": "Lanner has one kind of collector: eBPF, for kernels with BTF.",
    "engine.kmod": "Lanner has no kernel module; collector.ring_mib is the size of its buffer.",
    "engine.modern_ebpf": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "engine.replay": "`lanner replay` reads recordings of `lanner record`, not captures of Falco.",
    "falco_libs": "the table of processes has no size to set, and file contents are not read.",
    "file_output.keep_alive": "the file stays open; SIGUSR1 opens it again, after log rotation.",
    "grpc": "there is no gRPC: use a webhook, a file or Kafka.",
    "grpc_output": "there is no gRPC: use a webhook, a file or Kafka.",
    "http_output.ca_path": "set webhook_output.ca_file to one file of CAs.",
    "http_output.compress_uploads": "requests are not compressed.",
    "http_output.echo": "answers are not printed; a refused alert is reported, and stored for `lanner dlq`.",
    "http_output.keep_alive": "connections are always reused.",
    "http_output.max_consecutive_timeouts": "an alert waits on disk, and is sent again until it is accepted.",
    "json_include_message_property": "JSON has no `message`; `output` contains it.",
    "libs_logger": "log_level applies to all of Lanner.",
    "load_plugins": "Lanner has no plugins.",
    "log_stderr": "Lanner's own log always goes to standard error, and so to the journal.",
    "log_syslog": "Lanner's own log always goes to standard error, and so to the journal.",
    "metadata_download": "`lanner kubernetes` reads the API server: docs/kubernetes-metadata.md.",
    "metrics": "Prometheus reads metrics at the address in http.listen, at any interval: docs/operate.md.",
    "modern_bpf": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "output_timeout": "a slow sink delays no other: alerts wait for it on disk.",
    "outputs": "repeated alerts are counted instead of sent: repeated_alerts.",
    "outputs_queue": "alerts wait on disk for each sink, at most notifier.outbox_alerts.",
    "plugins_hostinfo": "Lanner has no plugins.",
    "program_output": "no program is started for an alert: use a webhook, a file or Kafka.",
    "stdout_output.keep_alive": "standard output stays open.",
    "syscall_buf_size_preset": "one ring serves all CPUs; collector.ring_mib is its size, and losses are reported.",
    "syscall_drop_failed_exit": "rules see failed calls too; the kernel drops events that no rule can match.",
    "syscall_event_drops": "losses are always counted by reason, and reported as an alert with source `internal`.",
    "syscall_event_timeouts": "an idle host is normal; /healthz shows whether events are still read.",
    "webserver.k8s_healthz_endpoint": "the path is /healthz.",
    "webserver.prometheus_metrics_enabled": "the same address serves metrics, at /metrics.",
    "webserver.ssl_certificate": "the server speaks plain HTTP: bind it to an address that only a proxy can reach.",
    "webserver.ssl_enabled": "the server speaks plain HTTP: bind it to an address that only a proxy can reach.",
    "webserver.threadiness": "the server needs one thread.",
}
PLUGINS = {
    "k8smeta": "`lanner kubernetes` reads the API server once for a whole cluster: docs/kubernetes-metadata.md.",
}
NO_PLUGIN = "Lanner has no plugins; rules of their sources are skipped."
ENGINES = {
    "label_max_len": "labels of containers have a fixed limit.",
    "with_size": "the size of a container's root is not read.",
    "hooks": "containers are found when they are created.",
}
NO_ENGINE = "is not a container runtime that Lanner has settings for; containers of any runtime have at least their id."


def reason_for(name: str) -> str:
    """Return why a setting is not carried over; empty if there is no reason."""
    while name:
        if name in REASONS:
            return REASONS[name]
        name = name.rpartition(".")[0]
    return ""
