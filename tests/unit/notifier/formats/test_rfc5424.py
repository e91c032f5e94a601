import json
import re

from hypothesis import given
from hypothesis import strategies as st

from notifier.formats.syslog import SyslogStyle, escape_parameter, message, octet_counted, structured_data
from tests.unit.alerts import alert

HEAD = re.compile(
    r'<(\d+)>1 (\S+) (\S+) lanner - alert (\[lanner@32473(?: [!-~]+?="(?:[^"\\\]]|\\.)*")*\]) ', re.DOTALL
)


def test_a_message_begins_as_the_rfc_states() -> None:
    """Facility local0, severity by name, six digits of a second, structured data, a byte order mark before text."""
    made = message(alert(event={"proc.name": "cat"}), SyslogStyle()).decode()
    assert made.startswith("<132>1 2026-11-24T14:31:30.479846Z web-3 lanner - alert [lanner@32473 id=")
    assert 'process="cat"' in made
    assert "] \ufeff" in made


def test_octets_are_counted_not_letters() -> None:
    """The receiver cuts by bytes."""
    assert octet_counted("ä".encode()) == b"2 \xc3\xa4"


def test_json_that_is_too_long_loses_its_fields_and_stays_json() -> None:
    """Half an object could be read by nobody."""
    made = message(alert(output_fields={"a": "x" * 9000}), SyslogStyle(body="json")).decode()
    body = json.loads(made[made.index("] {") + 2 :])
    assert "output_fields" not in body
    assert body["rule"] == "A rule"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.integers(1, 3000))
def test_hostile_text_stays_in_its_place(host: str, rule: str, name: str, times: int) -> None:
    """Header and structured data can be read back, and the whole is within its bound."""
    made = message(alert(hostname=host, rule=rule, output=name * times, event={"proc.name": name}), SyslogStyle())
    text = made.decode()
    found = HEAD.match(text)
    assert found
    assert len(made) <= 8192
    assert "\n" not in text
    assert found.group(3).isascii()


@given(st.text(max_size=100))
def test_a_parameter_ends_where_it_should(text: str) -> None:
    """Each of its three special characters follows a backslash."""
    assert re.fullmatch(r'(?:[^"\\\]]|\\["\\\]])*', escape_parameter(text))


def test_a_container_is_named_with_image_digest_pod_and_cluster() -> None:
    """Unknown values are left out."""
    event = {"container.name": "web", "container.image.digest": "sha256:11", "k8s.pod.uid": "u-1"}
    made = structured_data(alert(event=event, cluster_name="eu-1"), 32473)
    for parameter in ('container_name="web"', 'image_digest="sha256:11"', 'pod_uid="u-1"', 'cluster="eu-1"'):
        assert parameter in made
    assert "namespace" not in made


def test_a_process_is_named_with_pid_login_user_and_the_path_that_it_removed() -> None:
    """A call without a descriptor has a path only."""
    event = {"proc.pid": 7, "user.name": "root", "user.loginname": "ann", "fs.path.name": "/a"}
    data = structured_data(alert(event=event), 32473)

    assert 'pid="7" user="root" login="ann" path="/a"' in data


def test_a_program_is_named_with_what_is_known_of_it() -> None:
    """As parameters for programs, and for people behind the output, which a host can't break out of."""
    event = {
        "proc.exe.origin": "dropped",
        "proc.exe.sha256": "5a",
        "proc.exe.written_by": "curl\n<132>1",
        "fd.sip.name": 'a"]b',
    }
    made = message(alert(event=event), SyslogStyle()).decode()

    assert ' sha256="5a" origin="dropped" written_by="curl\\\\n<132>1" server="a\\"\\]b"]' in made
    assert made.endswith('(program dropped by curl\\n<132>1; address looked up as a"]b)')
