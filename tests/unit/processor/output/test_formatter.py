import pytest

from processor.output.formatter import compile_output, event_row, suggested
from processor.output.tokens import OutputError
from schemas.batch import Container, NetworkServer, Process
from tests.unit.processor.batches import INIT, TIME, batch_of

SHELL = Process(pid=7, ppid=1, name="bash", args=("-c", "x"), parent=0, uid=0)


def render(text: str, **event: object) -> tuple[str, dict[str, object]]:
    """Format an output for one event of a shell."""
    batch = batch_of({"type": "openat", "process": 1, **event}, processes=[INIT, SHELL])
    rendered = compile_output(text).bind(batch)(0, batch.columns["fd_name"][0])
    return rendered.text, rendered.fields


def test_values_stand_where_the_tokens_stood() -> None:
    """Texts and numbers are formatted in the text and unchanged in the fields."""
    assert render("a %proc.name b %proc.pid.") == ("a bash b 7.", {"proc.name": "bash", "proc.pid": 7})


def test_a_missing_value_is_na_in_text_and_none_in_fields() -> None:
    """Missing values print as in Falco."""
    assert render("%fd.name") == ("<NA>", {"fd.name": None})


def test_a_width_pads_and_cuts_the_text_only() -> None:
    """The width does not change the field's value."""
    assert render("%6proc.name|%2proc.name|") == ("bash  |ba|", {"proc.name": "bash"})


def test_the_longest_prefix_that_is_a_field_wins() -> None:
    """Text may follow without a blank."""
    assert render("%proc.nameand%proc.aname[1]x")[0] == "bashandsystemdx"


def test_times_are_nanoseconds_in_fields() -> None:
    """The text has the time of day, the field a number."""
    text, fields = render("%evt.time.iso8601")

    assert text.startswith("2026-")
    assert fields == {"evt.time.iso8601": TIME}


@pytest.mark.parametrize(
    ("text", "shown", "keys"),
    [
        ("%toupper(proc.name)", "BASH", ["proc.name", "toupper(proc.name)"]),
        ("%len(toupper(proc.name))", "4", ["proc.name", "len(toupper(proc.name))"]),
        ("%concat(proc.name, 'x')", "bashx", ["proc.name", "concat(proc.name,x)"]),
        ("%concat(proc.name, toupper(proc.name))", "bashBASH", ["proc.name", "concat(proc.name,toupper(proc.name))"]),
        ("%concat(toupper(proc.name), 'x')", "BASHx", ["proc.name", "concat(toupper(proc.name),x)"]),
        (
            "%concat(toupper(proc.name), proc.args)",
            "BASH-c x",
            ["proc.name", "toupper(proc.name)", "proc.args", "concat(toupper(proc.name),proc.args)"],
        ),
        ("%concat('a', toupper('b'))", "aB", ["concat(a,toupper(b))"]),
        ("%join(', ', (proc.name, 'x'))", "bash, x", ["proc.name", 'join(", ",(proc.name,x))']),
        ("%getopt(('-c'), 'c')[c]", "c", ["getopt((-c),c)[c]"]),
        ("%getopt(('-c', 'x'), 'c:')", "(c,x)", ["getopt((-c,x),c:)"]),
        ('%proc.env["A B"]', "<NA>", ['proc.env["A B"]']),
    ],
)
def test_a_transformer_is_a_field_of_its_own(text: str, shown: str, keys: list[str]) -> None:
    """The fields that it uses are listed too, and inner transformers that a field follows."""
    rendered, fields = render(text)

    assert rendered == shown
    assert list(fields) == keys


def test_the_fields_of_an_alert_have_no_transformers() -> None:
    """Only the fields that they use remain."""
    batch = batch_of({"type": "openat", "process": 1}, processes=[INIT, SHELL])
    rendered = compile_output("%toupper(proc.name) %proc.pid", transformers=False).bind(batch)(0, 0)

    assert (rendered.text, rendered.fields) == ("BASH 7", {"proc.name": "bash", "proc.pid": 7})


@pytest.mark.parametrize(
    ("text", "shown"),
    [("*%proc.name", "bash"), ("*start", "start"), ("**%proc.name", "*bash"), ("a *%proc.name", "a *bash"), ("*", "")],
)
def test_an_asterisk_at_the_beginning_is_dropped(text: str, shown: str) -> None:
    """In Falco, it allows an output without all its values, as every output is here."""
    assert render(text)[0] == shown


def test_a_width_counts_bytes() -> None:
    """A character can be cut in two."""
    batch = batch_of({"type": "openat", "process": 0}, processes=[Process(pid=1, name="éé")])
    bound = compile_output("%3proc.name|%5proc.name|").bind(batch)

    assert bound(0, 0).text == "é\udcc3|éé |"


def test_a_device_number_is_hexadecimal() -> None:
    """The field is a text then, as in Falco."""
    assert render("%fd.dev", fd_dev=0x801) == ("801", {"fd.dev": "801"})


@pytest.mark.parametrize(
    "text",
    [
        *("100%", "% x", "%nope", "%nope.field", "%toupper(proc.name", "%fd.ip", "%proc.name[1]x%"),
        *("%evt.arg[name]", "%evt.rawarg[res]", "%toupper(evt.arg[name])"),
    ],
)
def test_an_output_that_cannot_be_read_is_refused(text: str) -> None:
    """The error has the span."""
    with pytest.raises(OutputError) as caught:
        compile_output(text)
    assert 0 <= caught.value.span[0] < caught.value.span[1] <= len(text)


def test_container_and_pod_are_suggested_unless_the_text_names_them() -> None:
    """Falco's container plugin suggests these fields."""
    assert list(suggested("x id=%container.id").values()) == [
        "container.name",
        "container.image.repository",
        "container.image.tag",
        "k8s.pod.name",
        "k8s.ns.name",
    ]


def test_suggested_fields_without_a_value_are_left_out_of_the_text() -> None:
    """What the rule's author wrote is always shown, and JSON has all fields."""
    text = "%proc.name %fd.name"
    rendered = compile_output(text, suggested(text)).fill({"proc.name": "cat", "container.id": "host"})

    assert rendered.text == "cat <NA> container_id=host"
    assert rendered.fields["fd.name"] is None
    assert rendered.fields["k8s.pod.name"] is None


def test_a_mapping_fills_an_output_too() -> None:
    """The Python API passes an event as a mapping."""
    rendered = compile_output("%proc.name %proc.pid %evt.arg.flags").fill({"proc.name": "x", "proc.pid": "3"})

    assert rendered.text == "x 3 <NA>"


def test_an_event_states_arguments_and_leaders_by_the_names_of_ecs() -> None:
    """A shell below one that a login began: the entry leader is the login's session leader, beyond `setsid`."""
    processes = [
        INIT,
        Process(pid=10, name="sshd", start_time=TIME - 9, parent=0, session_leader=1),
        Process(
            pid=11, name="bash", exepath="/bin/bash", start_time=TIME - 8, parent=1, session_leader=2, group_leader=2
        ),
        Process(pid=12, name="tmux", start_time=TIME - 7, parent=2, session_leader=3, group_leader=3),
        Process(pid=13, name="cat", exe="cat", args=("a b",), parent=3, session_leader=3, group_leader=3),
    ]
    batch = batch_of({"type": "openat", "process": 4}, {"type": "openat"}, processes=processes)
    made = event_row(batch)(0, 0)
    assert made["process.args"] == ("cat", "a b")
    assert (made["process.session_leader.name"], made["process.session_leader.start"]) == ("tmux", TIME - 7)
    assert "process.session_leader.executable" not in made
    assert made["process.group_leader.name"] == "tmux"
    entry = {name: made[f"process.entry_leader.{name}"] for name in ("pid", "start", "name", "executable")}
    assert entry == {"pid": 11, "start": TIME - 8, "name": "bash", "executable": "/bin/bash"}
    assert (made["agent.version"], made["host.os.kernel"], made["event.created"]) == ("0.1", "6.18", TIME)
    assert not [name for name in event_row(batch)(1, 0) if "leader" in name]


def test_the_process_that_a_container_starts_is_an_entry_leader() -> None:
    """What runtime is above it does not matter."""
    processes = [INIT, Process(pid=8, name="runtime", parent=0, session_leader=1)]
    processes.append(Process(pid=9, name="sh", parent=1, session_leader=2, container=0))
    batch = batch_of({"type": "openat", "process": 2}, processes=processes, containers=[Container("c", "c", "docker")])
    assert event_row(batch)(0, 0)["process.entry_leader.pid"] == 9


def test_the_nearest_process_that_listens_is_the_server_of_an_event() -> None:
    """The process itself, or one of its eight nearest ancestors; what a host's texts contain is escaped."""
    found = NetworkServer(("tcp 0.0.0.0:80",), "nginx", "1.22\x1b", "deb", ("libc6 2.36",))
    far = NetworkServer(("tcp 0.0.0.0:22",))
    line = [Process(pid=5, name="sshd", server=far), Process(pid=6, name="nginx\n", server=found, parent=0)]
    line += [Process(pid=pid, name="sh", parent=pid - 6) for pid in range(7, 16)]
    batch = batch_of(*({"type": "openat", "process": row} for row in (1, 9, 10, 0)), processes=line)
    row = event_row(batch)
    near, last, beyond, own = (row(index, 0) for index in range(4))
    names = ("name", "pid", "listening", "package", "package.version", "package.type", "libraries")
    values = ("nginx\\n", 6, ("tcp 0.0.0.0:80",), "nginx", "1.22\\x1b", "deb", ("libc6 2.36",))
    stated = {f"proc.server.{name}": value for name, value in zip(names, values, strict=True)}
    assert stated.items() <= near.items()
    assert stated.items() <= last.items()
    assert not [name for name in beyond if name.startswith("proc.server")]
    assert (own["proc.server.name"], own.get("proc.server.package")) == ("sshd", None)
