import re

from hypothesis import given
from hypothesis import strategies as st

from foundation.text import printable
from notifier.formats.syslog import cef, escape_header, escape_value
from tests.unit.alerts import alert


def parse(record: str) -> tuple[list[str], dict[str, str]]:
    """Parse a record as the specification defines it: a slow parser that only the tests use."""
    parts = re.findall(r"((?:[^|\\]|\\.)*)\|", record)[:7]
    rest = record[sum(len(part) + 1 for part in parts) :]
    found = re.findall(r"(\w+)=((?:[^=\\]|\\.)*?)(?= \w+=|$)", rest)
    header = [re.sub(r"\\(.)", r"\1", part) for part in parts]
    return header, {key: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value) for key, value in found}


def test_a_record_states_what_and_where() -> None:
    """In the dictionary's keys, what it has none for under labels."""
    made = cef(
        alert(
            event={
                "proc.name": "cat",
                "proc.pid": 7,
                "fd.type": "file",
                "fd.name": "/etc/shadow",
                "proc.cmdline": "cat /etc/shadow",
                "container.name": "host",
            }
        ),
        "1.0",
    )
    header, extension = parse(made)
    assert header == ["CEF:0", "Lanner", "Lanner", "1.0", "A rule", "A rule", "5"]
    assert (extension["dproc"], extension["dpid"], extension["filePath"]) == ("cat", "7", "/etc/shadow")
    assert (extension["cs1Label"], extension["cs1"]) == ("CommandLine", "cat /etc/shadow")
    assert extension["externalId"] == alert().id


@given(st.text(max_size=30), st.text(max_size=30))
def test_hostile_text_ends_no_value_and_no_part(rule: str, name: str) -> None:
    """What is read back is what was meant, made printable."""
    made = cef(alert(rule=rule, event={"proc.name": name, "proc.pname": "last"}), "1.0")
    header, extension = parse(made)
    assert header[4] == printable(rule)
    assert "\n" not in made
    # A blank at a value's end can't be distinguished from the one that separates it from the next key.
    if name.strip() == name and name and "=" not in name:
        assert extension["dproc"] == "\n".join(printable(line) for line in name.split("\n"))
    assert extension["sproc"] == "last"


@given(st.text(max_size=60))
def test_each_special_letter_stands_behind_a_backslash(text: str) -> None:
    """Pipe in the header, equals sign in values, backslash in both."""
    assert re.fullmatch(r"(?:[^|\\]|\\[|\\])*", escape_header(text))
    assert re.fullmatch(r"(?:[^=\\]|\\[=\\n])*", escape_value(text))


def test_the_cluster_has_a_label_of_its_own() -> None:
    """Alerts of several clusters meet in one SIEM."""
    _, extension = parse(cef(alert(event={"container.name": "web"}, cluster_name="eu-1"), "1.0"))
    assert (extension["cs1Label"], extension["cs1"]) == ("Container", "web")
    assert (extension["cs2Label"], extension["cs2"]) == ("Cluster", "eu-1")


def test_the_file_of_a_call_without_descriptor_is_named_once() -> None:
    """A rename or removal has a path only."""
    removed = cef(alert(event={"fs.path.name": "/a", "proc.pid": 7}, output="o"), "1")
    both = cef(alert(event={"fd.name": "/b", "fs.path.name": "/a"}, output="o"), "1")

    assert "filePath=/a" in removed
    assert "dpid=7" in removed
    assert both.count("filePath=") == 1
    assert "filePath=/b" in both


def test_a_program_and_a_server_are_named() -> None:
    """The origin in words, and the digest, under labels: the dictionary has none for a process."""
    event = {"proc.exe.origin": "dropped", "proc.exe.sha256": "5a" * 32, "fd.sip": "192.0.2.7", "fd.sip.name": "a.b"}
    _, extension = parse(cef(alert(event=event), "1"))

    assert (extension["dst"], extension["dhost"]) == ("192.0.2.7", "a.b")
    assert (extension["flexString1Label"], extension["flexString1"]) == ("ProgramOrigin", "program from no package")
    assert (extension["flexString2Label"], extension["flexString2"]) == ("ProgramSHA256", "5a" * 32)
