import pytest

from schemas.catalog.fields import EVENTS, FIELDS, event_spec, field_problem, is_event_type, resolve_field
from schemas.catalog.flags import encode_flags, flags_text, number_text


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("proc.name", "proc.name", None),
        ("proc.aname[2]", "proc.aname", "2"),
        ("proc.aname", "proc.aname", None),
        ("proc.env[HOME]", "proc.env", "HOME"),
        ("evt.arg.flags", "evt.arg", "flags"),
        ("evt.arg[0]", "evt.arg", "0"),
        ("evt.rawarg.res", "evt.rawarg", "res"),
        ("thread.cgroup.cpu", "thread.cgroup", "cpu"),
        ('proc.env["A B"]', "proc.env", "A B"),
    ],
)
def test_a_field_is_found_with_its_argument(text: str, name: str, argument: str | None) -> None:
    """Both forms of an argument are accepted."""
    found = resolve_field(text)

    assert found is not None
    assert (found[0].name, found[1]) == (name, argument)


@pytest.mark.parametrize(
    "text",
    ["proc.nme", "proc.name[1]", "evt.arg", "evt.rawarg[0]", "proc.aname[x]", "evt.arg.nope", "", "proc.aname[]"],
)
def test_what_is_no_field_is_not_found_and_the_reason_is_reported(text: str) -> None:
    """An unknown field gives a reason for the rule's author."""
    assert resolve_field(text) is None
    assert field_problem(text)


def test_event_types_are_those_with_parameters_and_all_system_calls() -> None:
    """A generic system call has the category "other"."""
    assert is_event_type("openat")
    assert is_event_type("fsmount")
    assert not is_event_type("opne")
    found = [event_spec(name) for name in ("openat", "read", "fsmount")]
    assert [None if spec is None else spec.category for spec in found] == ["file", "io-read", "other"]
    assert [param.name for param in EVENTS["setuid"].params] == ["res", "uid"]


def test_all_fields_of_the_system_call_source_are_known() -> None:
    """The catalog has Falco's 232 fields, those of its container plugin, and Lanner's own."""
    assert {"evt.num", "fd.types", "container.id", "k8s.pod.name", "fd.realpath", "evt.io_uring"} <= FIELDS.keys()


@pytest.mark.parametrize(
    ("table", "value", "text"),
    [
        ("file_flags", 0o2000000, "O_RDONLY|O_CLOEXEC"),
        ("file_flags", 0o1101, "O_TRUNC|O_CREAT|O_WRONLY"),
        ("prot_flags", 0, "PROT_NONE"),
        ("prot_flags", 5, "PROT_READ|PROT_EXEC"),
        ("socket_families", 1, "AF_LOCAL|AF_UNIX"),
        ("fcntl_commands", 1030, "F_DUPFD_CLOEXEC"),
        ("clone_flags", 0x7C020000, "CLONE_NEWIPC|CLONE_NEWNET|CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWUTS|CLONE_NEWUSER"),
        ("ptrace_requests", 16, "PTRACE_ATTACH"),
        ("ptrace_requests", 9999, "PTRACE_UNKNOWN"),
        ("unlinkat_flags", 0, ""),
    ],
)
def test_a_kernel_number_has_falcos_names(table: str, value: int, text: str) -> None:
    """Names are joined in the order of the table."""
    assert flags_text(table, value) == text


def test_falcos_numbers_are_those_of_its_own_recordings() -> None:
    """O_DIRECTORY also sets O_TMPFILE, because one of its bits is enough."""
    assert encode_flags("file_flags", 0o2204000) == 13377
    assert number_text("file_flags", 13377) == "O_DIRECTORY|O_NONBLOCK|O_RDONLY|O_CLOEXEC|O_TMPFILE"
    assert number_text("execve_flags", 9) == "EXE_WRITABLE|EXE_LOWER_LAYER"
