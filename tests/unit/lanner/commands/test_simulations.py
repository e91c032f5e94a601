"""From `would` to `do`: a recorded simulation, a second person, and what publishing demands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lanner.commands.simulations import check_powers
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.rules import load_detection
from tests.unit.lanner.program import lanner

ACTIONS = Path("rules/acts.avro")
WOULD = """
- rule: Shell in container
  desc: d
  condition: evt.type = execve and proc.name in (sh, bash) and container.id != host
  output: o
  priority: NOTICE
- action: Freeze shells
  type: freeze
  target: container
  rules: [Shell in container]
"""
DO = WOULD + "  state: do\n"


class Fleet:
    """What one who publishes and one who accepts have."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "actions.yaml"
        self.keys = {name: Ed25519PrivateKey.generate() for name in ("ann", "bob")}
        for name, key in self.keys.items():
            private = folder / f"{name}.key"
            private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            private.chmod(0o600)
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (folder / f"{name}.pub").write_bytes(public)
        actions = replace(
            Settings().actions,
            simulations_dir=str(folder / "simulations"),
            people_key_files=(str(folder / "ann.pub"), str(folder / "bob.pub")),
        )
        self.settings = Settings(rules_files=(str(self.path),), actions=actions)
        self.options = ("-o", f"actions.simulations_dir={folder}/simulations")
        self.folder = folder

    def simulate(self, text: str) -> str:
        """Record a simulation of policies; return the message."""
        self.path.write_text(text)
        words = ("--file", ACTIONS, "--since", "2026-01-01", "--record")
        return lanner("actions", "simulate", "-r", self.path, *words, *self.options).stderr

    def accept(self, name: str) -> str:
        """Accept the newest one as a person; return what is shown."""
        return lanner("actions", "accept", "--sign-key", self.folder / f"{name}.key", "--yes", *self.options).stdout

    def publish(self, before: str, after: str, by: str = "ann") -> tuple[str, ...]:
        """Return what publishing records, or raise its error."""
        found = []
        for text in (before, after):
            self.path.write_text(text)
            found.append(load_detection(self.settings, warnings=False))
        return check_powers(self.settings, *found, self.keys[by], lambda _: None)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Return two persons with keys, and an empty folder of simulations."""
    return Fleet(tmp_path)


def test_a_policy_acts_only_after_a_simulation_that_another_person_accepted(fleet: Fleet) -> None:
    """Each step that is missing is named; the version's record names the simulation and the person."""
    with pytest.raises(BadInput, match=r"\(state do\), and no simulation of it in this state"):
        fleet.publish(WOULD, DO)
    fleet.simulate(WOULD)
    with pytest.raises(BadInput, match="no simulation of it in this state"):
        fleet.publish(WOULD, DO)
    assert "recorded as 20" in fleet.simulate(DO)
    with pytest.raises(BadInput, match=r"nobody whose key is among actions\.people_key_files accepted simulation 20"):
        fleet.publish(WOULD, DO)
    assert "Freeze shells: freeze container, state do, for 1 rule:" in fleet.accept("ann")
    with pytest.raises(BadInput, match="only the key that signs this version accepted simulation 20"):
        fleet.publish(WOULD, DO)
    fleet.accept("bob")
    [line] = fleet.publish(WOULD, DO)
    assert line.startswith("action Freeze shells: state do; simulated as 20")
    assert "; accepted by " in line
    assert fleet.publish(DO, DO + "  budget: {per_hour: 1}\n") == ()
    assert fleet.publish(DO, WOULD) == ()
    with pytest.raises(BadInput, match=r"\(a longer lease\)"):
        fleet.publish(DO, DO + "  lease: 1h\n")


def test_a_record_that_somebody_changed_counts_for_nothing(fleet: Fleet) -> None:
    """The signature is of all of it; a file of another form is named, and the others count."""
    fleet.simulate(DO)
    fleet.accept("bob")
    [path] = (fleet.folder / "simulations").iterdir()
    row = json.loads(path.read_text())
    row["record"]["policies"][0]["targets"] = 0
    path.write_text(json.dumps(row))
    (fleet.folder / "simulations" / "other.json").write_text('{"record": {"policies": [7]}}')
    with pytest.raises(BadInput, match="nobody whose key"):
        fleet.publish(WOULD, DO)
    path.unlink()
    with pytest.raises(BadInput, match="no simulation"):
        fleet.publish(WOULD, DO)


def test_on_one_host_validation_warns_of_what_nobody_simulated(fleet: Fleet) -> None:
    """There, root's rule files act; nobody publishes them."""
    fleet.path.write_text(DO)
    warned = lanner("rules", "validate", "--alone", fleet.path, *fleet.options).stdout
    assert "it is done without asking, and no simulation of it with these rules is recorded" in warned
    fleet.simulate(DO)
    assert lanner("rules", "validate", "--alone", fleet.path, *fleet.options).stdout.endswith("no problems\n")
