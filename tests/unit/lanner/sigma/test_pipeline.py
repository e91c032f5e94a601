import pytest
from sigma.exceptions import SigmaError

from tests.unit.lanner.sigma.converted import condition

AUDITD = "service: auditd"


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        (
            "type: EXECVE\na0: Wget\na1|startswith: '--post-file='",
            '(sigma_process_creation and tolower(proc.exe) = wget and tolower(proc.args[0]) startswith "--post-file=")',
        ),
        ("type: execve\na1: 777", "(sigma_process_creation and proc.args[0] = 777)"),
        ("type: SYSCALL\nexe: /usr/bin/kmod", "(sigma_process_creation and tolower(proc.exepath) = /usr/bin/kmod)"),
        ("type: SYSCALL\nSYSCALL: memfd_create\ncomm: a", "(evt.type = memfd_create and tolower(proc.name) = a)"),
        (
            "SYSCALL: [mknod, execve]\nsuccess: 'no'",
            "((evt.type = mknod or sigma_process_creation) and evt.failed = true)",
        ),
        ("type: SYSCALL\nSYSCALL: socket\na0: 26", "(evt.type = socket and evt.rawarg.domain = 38)"),
        (
            "type: PATH\nname|endswith: /sysrq",
            (
                "(sigma_auditd_path and ((sigma_auditd_open and tolower(fd.name) endswith /sysrq)"
                " or (sigma_auditd_name and tolower(fs.path.name) endswith /sysrq)))"
            ),
        ),
        ("type: PATH\nnametype: DELETE", "(sigma_auditd_path and evt.type in (unlink, unlinkat, rmdir))"),
        ("a5|startswith: '--cpu'", "(tolower(proc.args[4]) startswith --cpu and sigma_process_creation)"),
    ],
)
def test_records_of_auditd_are_events(detection: str, expected: str) -> None:
    """EXECVE is a program that starts, SYSCALL its call, PATH a file that a call names."""
    assert condition(detection, AUDITD) == expected


def test_a_selection_without_a_type_is_about_the_rules_records() -> None:
    """If all others are about one type."""
    detection = "a:\n  type: EXECVE\nb:\n  a1: x\nwords: ['reboot', 6]\ncondition: a and b and words"
    assert condition(detection, AUDITD) == (
        "(sigma_process_creation and tolower(proc.args[0]) = x and tolower(proc.exeline) contains anyof (reboot, 6))"
    )


def test_records_that_no_event_has_are_left_out() -> None:
    """An alternative about them can't be true; its negation is."""
    detection = "a:\n  type: EXECVE\n  a0: x\nb:\n  type: ADD_USER\ncondition: 1 of a or b and not b"
    assert condition(detection, AUDITD) == "(sigma_process_creation and tolower(proc.exe) = x)"


@pytest.mark.parametrize(
    ("detection", "reason"),
    [
        ("type: SERVICE_STOP", "no event of Lanner can match"),
        ("type: SERVICE_STOP\nunit: ufw", "the field unit of auditd's records has no equivalent"),
        ("type: SYSCALL\nkey: mine", "the key of an audit rule"),
        ("type: SYSCALL\nSYSCALL: sysinfo", "the system call sysinfo isn't collected"),
        ("type: SYSCALL\nSYSCALL: ptrace\na1: 5", "the argument a1 of ptrace has no equivalent"),
        ("type: SYSCALL\nSYSCALL: socket\na0: zz", "isn't a hexadecimal number"),
        ("type: PATH\nouid: 5", "the field ouid of PATH records"),
        ("type: PATH\nnametype: ODD", "nametype is 'ODD'"),
        ("a: ['x']\nb:\n  type: PATH\ncondition: a and b", "a keyword in records of type PATH"),
    ],
)
def test_what_events_lack_is_named(detection: str, reason: str) -> None:
    """With the field or the call."""
    with pytest.raises(SigmaError, match=reason):
        condition(detection, AUDITD)
