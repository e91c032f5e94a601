"""Decoys before and after what matters: it has an alert of its own, or the summary names it."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.lanner.watching import Watching

pytestmark = pytest.mark.live

_NOBODY = 65534
_CHROOTED = """
import os, sys
os.chroot(sys.argv[1] + "/etc")
for name in ("/secrets.d/1", "/secrets.d/2", "/secrets.d/3", "/shadow"):
    os.close(os.open(name, os.O_RDONLY))
"""
_KEYS = """
import os, sys
decoys = [f"{sys.argv[1]}/tmp/{number}/id_rsa" for number in range(300)]
for name in (*decoys[:150], sys.argv[1] + "/home/bob/id_rsa", *decoys[150:]):
    os.close(os.open(name, os.O_RDONLY))
"""


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """Yield a folder that everybody may reach, with secrets, keys and decoys."""
    folder = Path("/tmp") / f"lanner-adversary-{uuid.uuid4().hex[:8]}"
    folder.mkdir(mode=0o755)
    names = [*(f"etc/secrets.d/{number}" for number in (1, 2, 3)), "etc/shadow", "home/bob/id_rsa"]
    for name in (*names, *(f"tmp/{number}/id_rsa" for number in range(300))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch(0o644)
    (folder / "link").symlink_to(folder / "etc/shadow")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def alerts(ground: Path) -> list[dict[str, Any]]:
    """Return the alerts about a root user in a chroot, another process, and an unprivileged user with many decoys."""
    rules = ground / "rules.yaml"
    rules.write_text(
        f"- rule: Secret read\n  desc: d\n  priority: WARNING\n  output: read %fd.name by %proc.name\n"
        f"  condition: evt.type = openat and "
        f"(fd.name startswith {ground}/etc/secrets.d/ or fd.name = {ground}/etc/shadow)\n"
        f"- rule: Key read\n  desc: d\n  priority: WARNING\n  output: read %fd.name by %user.uid\n"
        f"  condition: evt.type = openat and fd.name startswith {ground}/ and fd.name endswith /id_rsa\n"
    )
    settings = ("-o", "http.listen=off", "-o", "memory.enabled=false", "--format", "json")
    with Watching("run", *settings, "-r", rules) as lanner:
        for program, user in ((_CHROOTED, 0), (_KEYS, _NOBODY)):
            subprocess.run(["/usr/bin/python3", "-I", "-c", program, ground], check=True, user=user)
        subprocess.run(["/bin/cat", ground / "link"], check=True)
        lanner.out.wait_for(f"{ground}/etc/shadow by cat")
        assert lanner.end() == 0
    return [json.loads(line) for line in lanner.out.lines]


def test_a_chroot_with_decoys_hides_neither_the_file_that_the_rule_names_nor_another_process(
    alerts: list[dict[str, Any]], ground: Path
) -> None:
    """Below its root, files have the paths that everybody else uses, and so an alert each."""
    found = [alert["output_fields"] for alert in alerts if alert["rule"] == "Secret read"]
    assert [(each["proc.name"], each["fd.name"]) for each in found if "repeats.count" not in each] == [
        *(("python3", f"{ground}/etc/secrets.d/{number}") for number in (1, 2, 3)),
        ("python3", f"{ground}/etc/shadow"),
        ("cat", f"{ground}/etc/shadow"),
    ]


def test_hundreds_of_decoys_do_not_hide_a_key_elsewhere(alerts: list[dict[str, Any]], ground: Path) -> None:
    """The number of alerts remains bounded, and the summary lists it among the decoys."""
    found = [alert for alert in alerts if alert["rule"] == "Key read"]
    *sent, summary = found
    assert len(sent) == 100
    assert summary["output_fields"]["repeats.count"] == 201
    assert f"{ground}/home/bob/id_rsa" in summary["output_fields"]["fd.name"]
