import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.live.debian_image import NoDebian, debian_tar
from tests.live.needs import lacking
from tests.unit.lanner.program import fresh as lanner

pytestmark = pytest.mark.live

TESTS = r"""
attack_technique: T1053.003
atomic_tests:
- name: It never ends
  auto_generated_guid: hanging
  supported_platforms: [linux]
  executor: {name: sh, command: "sleep 1000"}
- name: Processes without end
  auto_generated_guid: bomb
  supported_platforms: [linux]
  executor: {name: bash, command: ":(){ :|:& };:"}
- name: A disk is filled
  auto_generated_guid: full
  supported_platforms: [linux]
  executor: {name: sh, command: "fallocate -l 2G /tmp/zeros"}
- name: The machine is restarted
  auto_generated_guid: restart
  supported_platforms: [linux]
  executor:
    name: sh
    elevation_required: true
    command: "perl -e 'syscall(169, 0xfee1dead, 672274793, 0x01234567, 0) == 0 or die'"
- name: "<script>alert(1)</script> \e[31m red"
  auto_generated_guid: escapes
  supported_platforms: [linux]
  executor: {name: bash, command: "printf '\\033]0;owned\\a<b>'; exit 4"}
- name: A server is asked
  auto_generated_guid: server
  supported_platforms: [linux]
  dependencies:
  - description: something is compiled beside the tests
    prereq_command: test -e PathToAtomicsFolder/T1053.003/made
    get_prereq_command: touch PathToAtomicsFolder/T1053.003/made
  executor:
    name: bash
    command: |
      for each in evil.example/80 169.254.169.254/80; do
        exec 3<> /dev/tcp/$each
        printf 'GET / HTTP/1.0\r\n\r\n' >&3
        grep -q sinkhole <&3 || exit
      done
- name: Nobody knows this shell
  auto_generated_guid: cobol
  supported_platforms: [linux]
  executor: {name: cobol, command: "x"}
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
  executor: {name: sh, command: "yes | head -c 3000000; echo; echo the end; exit 3"}
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
    """No test sees what another did, none reaches the machine or ends the run, and nothing of the guests is left."""
    try:
        image = tmp_path / "image"
        image.mkdir()
        subprocess.run(["tar", "-C", image, "-xf", debian_tar()], check=True)
    except NoDebian as missing:
        lacking(str(missing))
    folder = tmp_path / "atomics" / "T1053.003"
    folder.mkdir(parents=True)
    (folder / "T1053.003.yaml").write_text(TESTS)
    layer, page = tmp_path / "layer.json", tmp_path / "page.html"

    recording = tmp_path / "recording"
    done = lanner(
        *("prove", folder.parent, "--image", image, "--guests", "4", "--seconds", "8", "--format", "json"),
        *("--navigator", layer, "--html", page, "--recording", recording),
        timeout=120,
    )

    assert done.returncode == 1, done.stderr
    assert "T1053.003.yaml:" in done.stderr
    assert "unknown executor 'cobol'" in done.stderr
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
    assert results["hanging"]["reason"] == "stopped after 8 s"
    assert results["bomb"]["result"] != "not run"
    assert "No space left" in results["full"]["reason"]
    assert "exit code 1" in results["restart"]["reason"]
    assert results["server"]["reason"] == ""
    assert not (folder / "made").exists()
    assert results["T1053.003#7"]["reason"] == "unknown executor 'cobol'"
    html = page.read_text()
    assert "<script" not in html
    assert "\x1b" not in html
    assert "exit code 4: \\x1b]0;owned\\x07&lt;b&gt;" in html
    assert json.loads(layer.read_text())["techniques"][0]["techniqueID"] == "T1053.003"
    assert_same_by_replay(results, folder.parent, recording)
    assert left_behind() == set()


def left_behind() -> set[Path]:
    """Return the cgroups of guests that stay without a process; those of other tests' guests come and go."""

    def is_empty(group: Path) -> bool:
        with suppress(OSError):
            return not any(each.read_text() for each in group.rglob("cgroup.procs"))
        return False

    samples: list[set[Path]] = []
    for _ in range(5):
        groups = Path("/sys/fs/cgroup")
        samples.append(set(filter(is_empty, (*groups.glob("lanner-guest-*"), *groups.glob("*/lanner-guest-*")))))
        time.sleep(0.2)
    return set.intersection(*samples)


def assert_same_by_replay(results: dict[str, dict[str, Any]], folder: Path, recording: Path) -> None:
    """Check that the same rules raise the same alerts on the recording, and that other rules raise theirs."""
    done = lanner("prove", folder, "--replay", recording, "--format", "json")
    assert done.returncode == 1, done.stderr

    def found(result: dict[str, Any]) -> tuple[str, list[tuple[str, int]]]:
        return result["reason"], [(alert["rule"], alert["time"]) for alert in result["alerts"]]

    assert {each["guid"]: found(each) for each in json.loads(done.stdout)} == {
        guid: found(result) for guid, result in results.items()
    }
    other = recording / "other.yaml"
    other.write_text(OTHER_RULE)
    done = lanner("prove", folder, "--replay", recording, "--format", "json", "--rules", other)
    assert [each["guid"] for each in json.loads(done.stdout) if each["alerts"]] == ["job"]
