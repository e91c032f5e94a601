"""The wheel in an environment of its own, on this kernel."""

import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

from tests.deploy.waiting import wait
from tests.live.needs import lacking

HIDDEN = ("/usr/lib/python3/dist-packages", "/usr/src", "/var/cache/lanner", "/etc/lanner")
"""BCC and headers, what former starts compiled, and this host's settings."""


def test_a_wheel_watches_a_host_without_compiler(tmp_path: Path) -> None:
    """Rules, schemas and the eBPF program come from the wheel; libraries are those of the tests."""
    if os.geteuid() != 0 or shutil.which("git") is None:
        lacking("needs root and git")
    built = subprocess.run(
        ["deploy/packages/build.sh", "wheel", tmp_path], capture_output=True, text=True, timeout=280, check=False
    )
    assert built.returncode == 0, built.stderr
    installed = tmp_path / "installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", installed], check=True, timeout=60)
    pip = [sys.executable, "-m", "pip", "--python", installed / "bin/python", "install", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "-q", "--no-index", built.stdout.strip()], check=True, timeout=120)
    [packages] = installed.glob("lib/python3*/site-packages")
    [libraries] = (path for path in map(Path, sys.path) if path.name == "site-packages")
    (packages / "libraries.pth").write_text(f"{libraries}\n")

    hide = "".join(f"mount -t tmpfs tmpfs {path};" for path in HIDDEN if Path(path).is_dir())
    inside = ["unshare", "-m", "sh", "-ec", f'{hide} cd /; exec "$@"', "enter", installed / "bin/lanner"]
    alerts, said = tmp_path / "alerts", tmp_path / "said"
    with alerts.open("wb") as output, said.open("wb") as errors:
        command = [*inside, "run", "--format", "json", "-o", "http.listen=off"]
        running = subprocess.Popen(command, stdout=output, stderr=errors)
    try:
        wait(lambda: "watching" in said.read_text() or running.poll() is not None, 60)
        marker = uuid.uuid4().hex
        subprocess.run(["cat", "/etc/shadow", marker], capture_output=True, check=False)
        wait(lambda: marker in alerts.read_text() or running.poll() is not None, 30)
        running.terminate()
        assert running.wait(30) == 0, said.read_text()
    finally:
        running.kill()
        running.wait()
    assert marker in alerts.read_text()
    assert "Traceback" not in said.read_text()
