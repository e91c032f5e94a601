import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from collector.processes import servers
from collector.processes.parts import Credentials, ExecutedProgram
from collector.processes.process import TICK, TrackedProcess
from collector.processes.servers import SECONDS, KnownServers, with_packages
from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.look_ups import LookUps
from collector.procfs.parse import parse_stat
from schemas.batch import NetworkServer
from schemas.encoding.limits import MAX_LIBRARIES

NGINX = InstalledPackage("dpkg", "nginx", "1.22.1-9", "amd64", "nginx", "1.22.1-9")
LIBRARIES = tuple(InstalledPackage("rpm", f"lib{number}", "1", "x86_64", "x", "1") for number in range(100))
SERVING = "import socket\ns = socket.create_server(('{}', 0))\nprint(flush=True)\ninput()"


def test_a_server_has_the_package_of_its_program_and_bounded_libraries() -> None:
    """A program of no package has libraries all the same, each once; a container may name them at any length."""
    bare = NetworkServer(("tcp 0.0.0.0:80",))
    found = with_packages(bare, (NGINX, *LIBRARIES, NGINX, None, *LIBRARIES))
    assert (found.listening, found.package, found.package_version, found.package_type) == (
        *(bare.listening, "nginx", "1.22.1-9"),
        "deb",
    )
    assert found.libraries == tuple(f"{each.name} 1" for each in LIBRARIES[:MAX_LIBRARIES])
    assert with_packages(bare, (None, LIBRARIES[3])) == replace(bare, libraries=("lib3 1",))
    assert with_packages(bare, ()) == bare
    long = with_packages(bare, (replace(NGINX, name="x" * 300), replace(NGINX, name="y" * 300)))
    assert max(len(text or "") for text in (long.package, *long.libraries)) <= 200


def test_a_process_that_listens_is_a_server_as_long_as_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only this machine reaches is none, and neither is another program of the same process."""
    monkeypatch.setattr(servers, "REST_SECONDS", 0.05)
    monkeypatch.setattr(servers, "SHARE", 1.0)
    known = KnownServers(LookUps(timeout=SECONDS))
    entries = []
    processes = []
    try:
        for address in ("0.0.0.0", "127.0.0.1"):
            made = subprocess.Popen(
                ["/usr/bin/python3", "-c", SERVING.format(address)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            processes.append(made)
            assert made.stdout is not None
            made.stdout.readline()
            stat = parse_stat(Path(f"/proc/{made.pid}/stat").read_bytes())
            assert stat is not None
            program = ExecutedProgram(name=stat.comm)
            entries.append(TrackedProcess(made.pid, stat.start_ticks * TICK + 5, 1, Credentials(0), program=program))
        known.listened()
        reached, unreached = entries
        deadline = time.monotonic() + 30
        while (found := known.server(reached)) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        version = known.version
        assert found is not None
        assert found.listening[0].startswith("tcp 0.0.0.0:")
        assert (found.package or "").startswith("python3")
        assert any(library.startswith("libc6 ") for library in found.libraries)
        assert known.server(unreached) is None
        reached.program = replace(reached.program, name="other")
        assert known.server(reached) is None
        processes[0].communicate()
        while known.version == version and time.monotonic() < deadline:
            known.listened()
            time.sleep(0.02)
        reached.program = program
        assert known.server(reached) is None
    finally:
        known.close()
        for made in processes:
            made.kill()
            made.communicate()
