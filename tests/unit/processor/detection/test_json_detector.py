import pytest

from bus.messages import BEHIND
from processor.detection.detector import Detector
from processor.detection.view import DocumentView
from processor.fields.json.documents import read_events
from processor.loading import RuleFile, load_rules
from processor.output.redaction import Redaction
from processor.rule import RulesetOptions
from tests.unit.processor.detection.requests import TIME, exec_request, line, pod_request, request

RULES = """
- list: trusted
  items: [registry.k8s.io/kube-proxy]
- macro: complete
  condition: (jevt.value[/stage] in (ResponseComplete))
- rule: Exec
  desc: d
  condition: ka.target.subresource in (exec, attach) and jevt.value[/stage]=ResponseStarted
  output: exec (user=%ka.user.name command=%ka.uri.param[command] time=%evt.time.iso8601)
  priority: NOTICE
  source: k8s_audit
- rule: Privileged
  desc: d
  condition: >
    complete and ka.req.pod.containers.privileged intersects (true)
    and not ka.req.pod.containers.image.repository in (trusted)
  output: privileged (images=%ka.req.pod.containers.image volumes=%jevt.value[/requestObject/spec/volumes])
  priority: WARNING
  source: k8s_audit
- rule: Any
  desc: d
  condition: complete and jevt.rawtime exists and toupper(ka.verb) != WATCH
  output: any (%ka.verb %ka.user.groups)
  priority: DEBUG
  source: k8s_audit
- rule: System call
  desc: d
  condition: evt.type = openat and fd.name = /etc/shadow
  output: read
  priority: DEBUG
"""


def _detector(**options: object) -> Detector:
    loaded = load_rules([RuleFile("rules.yaml", RULES)])
    assert loaded.ok, loaded.errors
    return Detector(loaded.rules, RulesetOptions(**options))  # type: ignore[arg-type]


def _alerts(event: object, **options: object) -> list[tuple[str, str]]:
    detector = _detector(**options)
    (read,) = read_events(line(event))
    found = detector.process(DocumentView(read))
    assert not detector.faults
    return [(alert.rule, alert.output) for alert in found]


def test_an_exec_over_websockets_is_found_with_its_command() -> None:
    """Its verb is get and its stage ResponseStarted."""
    ((rule, output),) = _alerts(exec_request("bash", "-c", "id"))

    assert rule == "Exec"
    assert output.startswith("exec (user=alice command=bash time=2026-11-25T")


def test_lists_of_containers_are_compared_as_sets() -> None:
    """A trusted image does not hide another container's."""
    privileged = {"securityContext": {"privileged": True}}
    trusted = {"image": "registry.k8s.io/kube-proxy:v1"}
    volumes = [{"name": "root", "hostPath": {"path": "/"}}]
    mixed = pod_request(containers=[trusted | privileged, {"image": "x@sha256:0"}], volumes=volumes)

    images = "(registry.k8s.io/kube-proxy:v1,x@sha256:0)"
    output = f'privileged (images={images} volumes=[{{"name":"root","hostPath":{{"path":"/"}}}}])'
    assert _alerts(mixed) == [("Privileged", output)]
    own = pod_request(containers=[trusted | privileged])
    assert _alerts(own) == [("Any", "any (create (dev,system:authenticated))")]


def test_all_matching_rules_alert_if_configured() -> None:
    """As for system calls; the default is the first."""
    event = pod_request(containers=[{"image": "x", "securityContext": {"privileged": True}}])

    assert [rule for rule, _ in _alerts(event, rule_matching="all")] == ["Privileged", "Any"]


def test_an_event_that_is_read_again_makes_the_same_alert() -> None:
    """The API server repeats what it got no answer for; another request is another event."""
    detector = _detector()
    texts = [line(request()), line(request()), line(request(auditID="another"))]
    first, again, other = (
        alert for text in texts for event in read_events(text) for alert in detector.process(DocumentView(event))
    )

    assert first == again
    late = [a for e in read_events(texts[0], received=TIME + 2 * BEHIND) for a in detector.process(DocumentView(e))]
    assert [(alert.id, alert.time) for alert in late] == [(first.id, TIME + BEHIND)]
    assert first.id != other.id
    assert (first.time, first.source, first.hostname) == (TIME, "k8s_audit", "")
    assert {"ka.verb": "get", "ka.user.groups": ("dev", "system:authenticated")}.items() <= first.event.items()


def test_secrets_are_masked() -> None:
    """The rules see them, the alert does not show them."""
    event = request(requestURI="/api/v1/namespaces/prod/secrets/db?token=hunter2")
    detector = _detector(redact=Redaction().alert)
    (alert,) = (alert for each in read_events(line(event)) for alert in detector.process(DocumentView(each)))

    assert alert.event["ka.uri"] == "/api/v1/namespaces/prod/secrets/db?token=[redacted]"


@pytest.mark.parametrize("part", ["requestObject", "objectRef", "user", "annotations", "responseStatus", "sourceIPs"])
@pytest.mark.parametrize(
    "value", [None, 1, "x", [], [[]], [None, {}], {"spec": {"containers": [None, 1, {"image": 2}]}}]
)
def test_members_of_any_type_are_evaluated(part: str, value: object) -> None:
    """A patch is any JSON, and users choose what is in it."""
    _alerts(request(**{part: value}), rule_matching="all")
