import json
from pathlib import Path

from tests.unit.lanner.program import lanner

RULES = """
- rule: One
  desc: d
  condition: evt.type = ptrace
  output: o
  priority: NOTICE
  tags: [T1055.008, T9999.001, mitre_privilege_escalation]
"""


def test_coverage_is_a_table_or_json_or_a_layer(tmp_path: Path) -> None:
    """Techniques with their rules, tactics with their counts, and the gaps."""
    rules = tmp_path / "r.yaml"
    rules.write_text(RULES)
    text = lanner("rules", "coverage", "-r", rules).stdout
    assert "T1055.008" in text
    assert "Ptrace System Calls" in text
    assert "1 technique has rules;" in text
    assert "In tags, but not in ATT&CK 19.0: T9999.001\n" in text

    gaps = lanner("rules", "coverage", "-r", rules, "--gaps").stdout
    assert "T1059.004" in gaps
    assert "T1055.008" not in gaps

    found = json.loads(lanner("rules", "coverage", "-r", rules, "--format", "json", "--platform", "Containers").stdout)
    assert found["platforms"] == ["Containers"]
    assert found["covered"][0]["rules"] == ["One"]
    assert "T1609" in [each["id"] for each in found["gaps"]]

    layer = json.loads(lanner("rules", "coverage", "-r", rules, "--format", "navigator").stdout)
    assert layer["versions"]["layer"] == "4.5"
    assert [each["techniqueID"] for each in layer["techniques"]] == ["T1055", "T1055.008"]
