import json
from pathlib import Path

from tests.unit.lanner.program import lanner

ACTIONS = Path("rules/acts.avro")
POLICIES = """
- action: Freeze shells
  type: freeze
  target: container
  rules: [Terminal shell in container]
- action: Lock users
  type: lock
  target: user
  rules: [Read sensitive file untrusted]
"""


def test_policies_are_shown_and_simulated(tmp_path: Path) -> None:
    """On recorded actions: what would have been hit, what is refused, and what each alert states."""
    path = tmp_path / "actions.yaml"
    path.write_text(POLICIES)
    listed = json.loads(lanner("actions", "list", path, "--format", "json").stdout)
    assert [(each["action"], each["rules"]) for each in listed] == [
        ("Freeze shells", ["Terminal shell in container"]),
        ("Lock users", ["Read sensitive file untrusted"]),
    ]

    simulated = lanner("actions", "simulate", path, "--file", ACTIONS, "--since", "2026-01-01")
    assert "freeze container" in simulated.stdout
    assert "root can't be locked" in simulated.stdout
    assert "Nothing was done." in simulated.stdout
    freeze, lock = json.loads(
        lanner("actions", "simulate", path, "--file", ACTIONS, "--since", "2026-01-01", "--format", "json").stdout
    )["actions"]
    assert freeze["targets"] == sum(freeze["by_workload"].values()) > 1
    assert freeze["prevented_events"] > 0
    assert (lock["targets"], lock["prevented_events"]) == (0, None)

    replayed = lanner("replay", ACTIONS, "--rules", "rules", "--rules", path, "--format", "json").stdout
    planned = [json.loads(line)["output_fields"].get("actions.planned") for line in replayed.splitlines()]
    assert any(texts and texts[0].startswith("would freeze container ") for texts in planned)


def test_without_policies_there_is_nothing_to_simulate() -> None:
    """The message states what to write."""
    assert lanner("actions", "list").stdout == "There are no action policies.\n"
    done = lanner("actions", "simulate", "--file", ACTIONS)
    assert done.returncode == 1
    assert "write an item `action`" in done.stderr
