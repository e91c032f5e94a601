import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.live.debian_image import NoDebian, debian_tar
from tests.live.needs import lacking
from tests.unit.lanner.program import fresh as lanner

pytestmark = pytest.mark.live

TESTS = """
attack_technique: T1053.003
atomic_tests:
- name: A job is written
  auto_generated_guid: job
  supported_platforms: [linux]
  executor: {name: sh, elevation_required: true, command: echo '* * * * * root true' > /etc/cron.d/job}
- name: Nothing happens
  auto_generated_guid: nothing
  supported_platforms: [linux]
  executor: {name: sh, command: "test ! -e /etc/cron.d/job"}
- name: Something is lacking
  auto_generated_guid: lacking
  supported_platforms: [linux]
  dependencies: [{description: a program, prereq_command: "which no-such-program"}]
  executor: {name: sh, command: "true"}
- name: The machine's clock is set
  auto_generated_guid: clock
  supported_platforms: [linux]
  executor:
    name: sh
    elevation_required: true
    command: "perl -e 'my $t = pack(q(qq), 1, 0); syscall(227, 0, $t) == 0 or die'"
- name: Output has no end
  auto_generated_guid: endless
  supported_platforms: [linux]
  executor: {name: sh, command: "yes | head -c 300000000; echo; echo the end; exit 3"}
- name: All is killed
  auto_generated_guid: killer
  supported_platforms: [linux]
  executor: {name: sh, elevation_required: true, command: "kill -9 -1; rm -rf /etc /home; cat /etc/cron.d/job"}
"""

OTHER_RULE = """
- rule: Change a job
  desc: x
  condition: evt.type in (open, openat, openat2, creat) and evt.is_open_write = true and fd.directory = /etc/cron.d
  output: x
  priority: WARNING
"""


def test_each_test_has_a_guest_of_its_own_and_its_own_alerts(tmp_path: Path) -> None:
    """No test sees what another did, none reaches the machine, and nothing of the guests is left."""
    try:
        image = tmp_path / "image"
        image.mkdir()
        subprocess.run(["tar", "-C", image, "-xf", debian_tar()], check=True)
    except NoDebian as missing:
        lacking(str(missing))
    folder = tmp_path / "atomics" / "T1053.003"
    folder.mkdir(parents=True)
    (folder / "T1053.003.yaml").write_text(TESTS)
    layer = tmp_path / "layer.json"

    recording = tmp_path / "recording"

    done = lanner(
        *("prove", folder.parent, "--image", image, "--format", "json", "--navigator", layer),
        *("--recording", recording),
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    results = {each["guid"]: each for each in json.loads(done.stdout)}
    assert results["job"]["result"] == "technique"
    assert "Write scheduled job" in {alert["rule"] for alert in results["job"]["alerts"]}
    assert results["nothing"]["alerts"] == []
    assert results["nothing"]["reason"] == ""
    assert (results["lacking"]["result"], results["lacking"]["reason"]) == (
        "not run",
        "prerequisite not met: a program",
    )
    assert "exit code 1" in results["clock"]["reason"]
    assert results["endless"]["reason"].endswith("the end")
    assert results["killer"]["result"] != "not run"
    assert json.loads(layer.read_text())["techniques"][0]["techniqueID"] == "T1053.003"
    assert_same_by_replay(results, folder.parent, recording)
    cgroups = Path("/sys/fs/cgroup")
    assert [*cgroups.glob("lanner-guest-*"), *cgroups.glob("*/lanner-guest-*")] == []


def assert_same_by_replay(results: dict[str, dict[str, Any]], folder: Path, recording: Path) -> None:
    """Check that the same rules raise the same alerts on the recording, and that other rules raise theirs."""
    done = lanner("prove", folder, "--replay", recording, "--format", "json")
    assert done.returncode == 0, done.stderr

    def found(result: dict[str, Any]) -> tuple[str, list[tuple[str, int]]]:
        return result["reason"], [(alert["rule"], alert["time"]) for alert in result["alerts"]]

    assert {each["guid"]: found(each) for each in json.loads(done.stdout)} == {
        guid: found(result) for guid, result in results.items()
    }
    other = recording / "other.yaml"
    other.write_text(OTHER_RULE)
    done = lanner("prove", folder, "--replay", recording, "--format", "json", "--rules", other)
    assert [each["guid"] for each in json.loads(done.stdout) if each["alerts"]] == ["job"]
