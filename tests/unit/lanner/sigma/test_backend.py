import pytest
from sigma.exceptions import SigmaError

from tests.unit.lanner.sigma.converted import condition

FILE = "category: file_event"
NET = "category: network_connection"


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("Image: /usr/bin/Curl", "tolower(proc.exepath) = /usr/bin/curl"),
        ("Image|endswith: /nc", "tolower(proc.exepath) endswith /nc"),
        ("Image|endswith: [/nc, /NCat]", "tolower(proc.exepath) endswith anyof (/nc, /ncat)"),
        ("Image: [a, b]", "tolower(proc.exepath) in (a, b)"),
        ("CommandLine|contains|all: [' -e', 'SH']", 'tolower(proc.exeline) contains allof (" -e", sh)'),
        ("CommandLine|startswith: 'bash -c'", 'tolower(proc.exeline) startswith "bash -c"'),
        ("CommandLine|contains: /../", "proc.exeline contains /../"),
        ("CommandLine|contains: [/../, x]", "tolower(proc.exeline) contains anyof (/../, x)"),
        ("CommandLine|contains|cased: Evil", "proc.exeline contains Evil"),
        ("CommandLine: 'a*b*c'", "tolower(proc.exeline) glob a*b*c"),
        ("CommandLine: 'a*[b]*c'", r"tolower(proc.exeline) glob a*\[b]*c"),
        ("CommandLine: 'a?c'", r'tolower(proc.exeline) regex "a(.|\n)c"'),
        (r"CommandLine: 'a\*c'", "tolower(proc.exeline) = a*c"),
        (r"CommandLine|contains: 'Ends\\'", "tolower(proc.exeline) contains ends\\"),
        (r"CommandLine|contains: 'a b\\'", r'tolower(proc.exeline) contains "a b\x5c"'),
        ("CommandLine: '*'", "proc.exeline exists"),
        ("CommandLine: ''", 'proc.exeline = ""'),
        ("CommandLine: null", "not proc.exeline exists"),
        ("CommandLine|exists: true", "proc.exeline exists"),
        ("CommandLine|exists: false", "not proc.exeline exists"),
        (r"CommandLine|re: '-[Oo]\s'", r'proc.exeline regex "(.|\n)*-[Oo][\\x{9}-\\x{a}\\x{c}-\\x{d} ](.|\n)*"'),
        ("CommandLine|re|i: ^ab", r'proc.exeline regex "[Aa][Bb](.|\n)*"'),
        (
            "CommandLine|windash|contains: ' -s '",
            'tolower(proc.exeline) contains anyof (" -s ", " /s ", " –s ", " —s ", " ―s ")',
        ),
        ("CommandLine|base64offset|contains: foo", "tolower(proc.exeline) contains anyof (zm9v, zvb, mb2)"),
        ("CommandLine|fieldref: ParentCommandLine", "tolower(proc.exeline) = tolower(proc.pexeline)"),
        ("CommandLine|fieldref|startswith: Image", "tolower(proc.exeline) startswith tolower(proc.exepath)"),
        ("ProcessId|gte: 1000", "proc.pid >= 1000"),
        ("ProcessId|lt: 1000", "proc.pid < 1000"),
        ("ProcessId: [1, 2]", "proc.pid in (1, 2)"),
        ("CurrentDirectory: /srv/App", "tolower(proc.cwd) = /srv/app/"),
        ("CurrentDirectory|contains: /app", "tolower(proc.cwd) contains /app"),
        ("LogonId: 0", "user.uid = 0"),
        ("container.image.repository: nginx", "tolower(container.image.repository) = nginx"),
    ],
)
def test_a_comparison_of_a_program_has_its_operator(detection: str, expected: str) -> None:
    """Case is folded only where a value has one, and values of one field share a comparison."""
    assert condition(detection) == f"(sigma_process_creation and {expected})"


@pytest.mark.parametrize(
    ("source", "detection", "expected"),
    [
        (FILE, "TargetFilename|startswith: /etc/cron.d/", "tolower(fd.name) startswith /etc/cron.d/"),
        (NET, "Initiated: 'true'", "evt.type = connect"),
        (NET, "Initiated: false", "evt.type in (accept, accept4)"),
        (NET, "DestinationPort: [22, '443']", "fd.sport in (22, 443)"),
        (NET, "DestinationIp: 127.0.0.1", "fd.sip = 127.0.0.1"),
        (NET, "DestinationIp|startswith: '10.'", "fd.snet = 10.0.0.0/8"),
        (NET, "DestinationIp|cidr: [10.0.0.0/8, 'fe80::/10']", "fd.snet in (10.0.0.0/8, fe80::/10)"),
        (NET, "DestinationHostname: Example.org", "fd.sip.name = example.org"),
        (NET, "Protocol: TCP", "tolower(fd.l4proto) = tcp"),
    ],
)
def test_files_and_connections_have_fields_of_their_own(source: str, detection: str, expected: str) -> None:
    """What Sysmon calls destination is the server's end."""
    macro = f"sigma_{source.removeprefix('category: ')}"
    assert condition(detection, source) == f"({macro} and {expected})"


def test_conditions_of_selections_keep_their_logic() -> None:
    """`1 of`, `all of`, and, or and not, of mappings and of lists of mappings."""
    detection = """
sel_a: {Image: /a, User: root}
sel_b:
  - Image: /b
  - User|startswith: b
filter: {User: c}
condition: 1 of sel_* and not (filter or all of sel_*)
"""
    assert condition(detection) == (
        "(sigma_process_creation and ((tolower(proc.exepath) = /a and tolower(user.name) = root)"
        " or tolower(proc.exepath) = /b or tolower(user.name) startswith b) and not (tolower(user.name) = c or"
        " (tolower(proc.exepath) = /a and tolower(user.name) = root and"
        " (tolower(proc.exepath) = /b or tolower(user.name) startswith b))))"
    )


def test_exact_paths_are_left_to_the_kernel() -> None:
    """Only paths: other texts are still compared without case."""
    found = condition("TargetFilename|endswith: /Evil\nUser: Root", FILE, exact_paths=True)
    assert found == "(sigma_file_event and fd.name endswith /Evil and tolower(user.name) = root)"


@pytest.mark.parametrize(
    ("source", "detection", "reason"),
    [
        ("service: sshd", "a: b", "no events of the log source linux/sshd"),
        ("category: process_creation", "Hashes: a", "the field Hashes has no equivalent"),
        (NET, "DestinationHostname|endswith: .ngrok.io", r"'\*.ngrok.io' is a part of a host name"),
        (NET, "DestinationIp: '1*'", "neither an address nor the first numbers of one"),
        (NET, "DestinationPort: web", "fd.sport is a number"),
        (NET, "Initiated: maybe", "Initiated is neither true nor false"),
        (FILE, "TargetFilename|cidr: 10.0.0.0/8", "fd.name is not an address"),
        (FILE, "TargetFilename|gt: 5", "fd.name is not a number"),
        (FILE, "ProcessId|re: a", "proc.pid has no text"),
        (FILE, r"TargetFilename|re: '\bx'", "in a regular expression"),
        (FILE, "TargetFilename|expand: '%paths%'", "a placeholder"),
        (FILE, "TargetFilename|hour: 5", "a part of a time"),
        (FILE, "selection: [word]\ncondition: selection", "the keyword 'word'"),
    ],
)
def test_what_has_no_equivalent_is_named(source: str, detection: str, reason: str) -> None:
    """The error contains the field or value, and why."""
    with pytest.raises(SigmaError, match=reason):
        condition(detection, source)
