import hashlib
import os
import shutil
from pathlib import Path

from collector.settings import CollectorSettings
from schemas.filter import OPENED_FILES, PROGRAM_FILES, Clause, PathPattern, PushdownFilter
from tests.live.collector.watching import watching


def test_only_variables_that_rules_name_leave_the_collector(tmp_path: Path) -> None:
    """Both for a new program and for one that existed before, and in the exec's own argument; also after a change."""
    environment = {**os.environ, "LANNER_ASKED": "yes", "LANNER_SECRET": "hush"}
    settings = CollectorSettings(variables=frozenset({"LANNER_ASKED"}))
    with watching("execve", settings=settings) as watch:
        watch.run("/bin/cat", str(tmp_path / "missing"), env=environment, check=False)
        event = watch.one(proc__cmdline=f"cat {tmp_path}/missing")
        assert event["proc.env[LANNER_ASKED]"] == "yes"
        assert event["proc.env[LANNER_SECRET]"] == ""
        assert event["evt.arg.env"] == "LANNER_ASKED=yes."
        watch.collector.watch({"execve"}, variables=frozenset())
        watch.run("/bin/ls", str(tmp_path), env=environment)
        event = watch.one(proc__cmdline=f"ls {tmp_path}")
        assert event["proc.env[LANNER_ASKED]"] is None
    for batch in watch.batches:
        assert not any("hush" in (text or "") for text in batch.strings)
        for process in batch.processes:
            assert all(entry.startswith("LANNER_ASKED=") for entry in process.env or ())


def test_a_program_or_script_has_the_path_of_its_code_unless_others_chose_it(tmp_path: Path) -> None:
    """As the kernel executed it, whatever its arguments are; a parent is evaluated in the same way."""
    script, plain = tmp_path / "script", {"PATH": "/usr/bin:/bin"}
    script.write_text("#!/bin/sh -e\n/bin/true $1\n")
    script.chmod(0o755)
    many = {f"LANNER_{number}": "x" for number in range(600)}
    cases = {
        "plain": (plain, str(script), "/usr/bin/true"),
        "shell": ({**plain, "ENV": "/tmp/x"}, None, "/usr/bin/true"),
        "path": ({"PATH": f"{tmp_path}:/usr/bin"}, None, "/usr/bin/true"),
        "loader": ({**plain, "LD_PRELOAD": "/tmp/x.so"}, None, None),
        "padded": ({**plain, "LANNER_LONG": "x" * 100_000, "LD_AUDIT": "/tmp/x.so"}, None, None),
        "many": ({**plain, **many}, None, None),
        "fewer": ({**plain, **dict(list(many.items())[:400])}, str(script), "/usr/bin/true"),
    }
    with watching("execve") as watch:
        for name, (environment, _, _) in cases.items():
            watch.run(script, name, env=environment)
        for name, (_, parent, own) in cases.items():
            event = watch.one(proc__cmdline=f"true {name}")
            assert (name, event["proc.pcodepath"], event["proc.codepath"]) == (name, parent, own)
            assert event["proc.acodepath[1]"] == parent
        watch.run("/bin/sh", script, "argument", env=plain)
        assert watch.one(proc__cmdline="true argument")["proc.pcodepath"] == "/usr/bin/dash"


def test_a_program_with_more_rights_than_its_user_ignores_libraries(tmp_path: Path) -> None:
    """The loader of a setuid program does, unless root runs it."""
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "x.so")}
    with watching("execve") as watch:
        watch.run("/bin/su", "--version", env=environment, user=65534, group=65534)
        watch.run("/bin/su", "--help", env=environment)

        assert watch.one(proc__cmdline="su --version")["proc.codepath"] == "/usr/bin/su"
        assert watch.one(proc__cmdline="su --help")["proc.codepath"] is None


def test_code_that_root_loads_is_known_by_what_brought_it(tmp_path: Path) -> None:
    """A library of a package, and a copy of it that somebody put elsewhere."""
    library = Path("/lib/x86_64-linux-gnu/libz.so.1").resolve()
    copied = shutil.copy(library, tmp_path / "evil.so")
    script = f"import ctypes; [ctypes.CDLL(path) for path in ({str(library)!r}, {str(copied)!r})]"
    settings = CollectorSettings(variables=frozenset({OPENED_FILES}))
    with watching("mmap", settings=settings) as watch:
        watch.run("/usr/bin/python3", "-I", "-c", script)
        watch.settle()
        own = watch.events(proc__cmdline=f"python3 -I -c {script}")
        maps = [event for event in own if "PROT_EXEC" in (event["evt.arg.prot"] or "")]
    found = {event["fd.name"]: event for event in maps}
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    assert found[str(library)]["fd.file.sha256"] == found[str(copied)]["fd.file.sha256"] == digest
    assert (found[str(library)]["fd.file.origin"], found[str(library)]["fd.file.package"]) == ("package", "zlib1g")
    assert (found[str(copied)]["fd.file.origin"], found[str(copied)]["fd.file.package"]) == ("dropped", None)


def test_the_origin_of_a_program_is_what_brought_it(tmp_path: Path) -> None:
    """A package, or who wrote it; from memory there is no file. Until a rule needs it, and after, nothing is read."""
    copied = tmp_path / "copied"
    script = "import os; f = os.memfd_create('x'); os.write(f, open('/bin/true', 'rb').read()); os.execve(f, ['x'], {})"
    opened = Clause("openat", patterns=frozenset({PathPattern(is_prefix=True, text=str(tmp_path).encode())}))
    needed = PushdownFilter(frozenset({Clause("execve"), Clause("execveat"), opened}))
    digest = hashlib.sha256(Path("/usr/bin/true").read_bytes()).hexdigest()
    with watching(*needed.events, pushdown_filter=needed) as watch:
        watch.run("/usr/bin/true", "unread")
        assert watch.one(evt__type="execve", proc__cmdline="true unread")["proc.exe.origin"] is None
        watch.collector.watch(needed.events, needed, variables=frozenset({PROGRAM_FILES}))
        watch.run("/bin/sh", "-c", f"cp /bin/true {copied}; {copied}; rm {copied}; exec /bin/true packaged")
        watch.run("/usr/bin/python3", "-I", "-c", script)
        for command in (
            f"printf '#!/bin/sh\\n' >{tmp_path}/x; chmod +x {tmp_path}/x",
            f"cd {tmp_path}; ./x",
            "ldd /bin/true",
        ):
            watch.run("/bin/sh", "-c", f"{command}; :")
        watch.run("/bin/bash", "-e", "x", cwd=tmp_path)
        watch.settle()
        started = [event for event in watch.all() if event["evt.type"] == "execve"]
        scripts = [event for event in started if event["proc.script.path"] == f"{tmp_path}/x"]
        listed = watch.one(evt__type="execve", proc__script__path="/usr/bin/ldd")
        packaged = watch.one(evt__type="execve", proc__cmdline="true packaged")
        dropped = watch.one(evt__type="execve", proc__exepath=str(copied))
        memory = [event for event in watch.all() if event["proc.exe.origin"] == "memory"]
        watch.collector.watch(needed.events, needed, variables=frozenset())
        assert watch.collector.program_outcomes == {}

    assert (packaged["proc.exe.origin"], packaged["proc.exe.package"]) == ("package", "coreutils")
    assert packaged["proc.exe.sha256"] == digest
    assert (dropped["proc.exe.origin"], dropped["proc.exe.package"]) == ("dropped", None)
    assert (dropped["proc.exe.written_by"], dropped["proc.exe.written_by.user"]) == ("cp", "root")
    assert 0 <= dropped["evt.rawtime"] - dropped["proc.exe.written_at"] < 60 * 10**9
    assert memory
    assert len(scripts) == 2
    for event in scripts:
        assert (event["proc.exe.origin"], event["proc.script.origin"]) == ("package", "dropped")
        assert event["proc.script.sha256"] == hashlib.sha256(b"#!/bin/sh\n").hexdigest()
        assert event["proc.script.written_by"] == "sh"
    assert (listed["proc.script.origin"], listed["proc.script.package"]) == ("package", "libc-bin")
