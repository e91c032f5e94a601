from pathlib import Path

from lanner.intake.local import LocalAuditLog
from lanner.intake.log_file import LogFollower, PlaceFile
from processor.detection.stage import compile_ruleset
from processor.evaluator import Evaluator
from processor.loading import RuleFile, load_rules
from schemas.alert import Alert
from tests.notes import into
from tests.unit.processor.detection.requests import line, request

RULES = "- {rule: Get, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}"


def _log(path: Path, notes: list[str]) -> LocalAuditLog:
    follower = LogFollower(path, PlaceFile(path.parent / "state", path), into(notes))
    rules = compile_ruleset(load_rules([RuleFile("r.yaml", RULES)]).rules, {})
    return LocalAuditLog(follower, Evaluator(rules).process, into(notes))


def test_a_file_is_evaluated_once_over_a_restart(tmp_path: Path) -> None:
    """Lines that can't be read are counted and reported, and don't stop those behind them."""
    path, notes, alerts = tmp_path / "audit.log", [""], list[Alert]()
    path.write_bytes(line(request(auditID="a")) + b"nonsense\n" + line([request(auditID="b"), request(verb="list")]))
    log = _log(path, notes)
    assert log.poll(alerts.append) == 3
    assert (log.events, log.refused, len(notes)) == (3, 1, 2)
    with path.open("ab") as file:
        file.write(line(request(auditID="c")))
    again = _log(path, notes)
    assert [again.poll(alerts.append), again.poll(alerts.append)] == [1, 0]

    assert [alert.event["ka.auditid"] for alert in alerts] == ["a", "b", "c"]


def test_alerts_are_delivered_before_the_place_is_stored(tmp_path: Path) -> None:
    """A crash in between repeats them with the same ids."""
    path, alerts = tmp_path / "audit.log", list[Alert]()
    path.write_bytes(line(request()))

    def crash(alert: Alert) -> None:
        alerts.append(alert)
        raise KeyError

    log = _log(path, [])
    try:
        log.poll(crash)
    except KeyError:
        _log(path, []).poll(alerts.append)

    first, again = alerts
    assert first.id == again.id


def test_a_file_that_cannot_be_read_is_reported_once(tmp_path: Path) -> None:
    """Detection continues."""
    notes: list[str] = []
    log = _log(tmp_path, notes)
    assert [log.poll(lambda _: None) for _ in range(3)] == [0, 0, 0]
    assert len(notes) == 1
