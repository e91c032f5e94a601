"""Finds the compiled BPF program, or compiles and caches it, and reads the running kernel's numbers for it.

A compiled program fits all kernels of x86-64 and arm64; a start that compiles nothing takes milliseconds. A
cached program is loaded into the kernel as root, so only files count that nobody else could have written. `make
objects` compiles it for everything that is built of this checkout:

    python -m collector.bpf.build             print its file in the folder objects; compile it unless it's there
    python -m collector.bpf.build --find      exit with 1 if it isn't there
"""

import hashlib
import json
import struct
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from collector.bpf import relocations
from collector.bpf.program import CALLED, FUNCTIONS, TYPED, UNTYPED, Compilation, RingSizes, check_rights
from collector.kernel import btf, offsets
from collector.kernel.architecture import HERE
from collector.kernel.offsets import CAST_CALL, fingerprint, numbers_of
from collector.pushdown import MASK_BITS, MAX_ROWS, MAX_TESTS
from collector.records.kernel_maps import REPEAT_BYTES, REPEAT_SLOTS
from foundation.errors import EnvironmentUnsupported, LannerError
from foundation.files import UntrustedFile, read_trusted, write_atomically
from schemas.filter import CLASSES, MAX_PREFIX, MAX_VALUES

SOURCE = Path(__file__).with_name("lanner.bpf.c")
_URING_SOURCE = Path(__file__).with_name("io_uring.bpf.c")
_COMPILER = Path(__file__).with_name("compile.py")
OBJECTS = Path(__file__).with_name("objects")
"""Folder of the program that comes with this version of Lanner."""
_READERS = (Path(btf.__file__), Path(offsets.__file__))
"""The modules by which BTF becomes numbers."""
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's BCC belongs to Debian's Python."""
_COMPILE_SECONDS = 300
_PAGE = 4096
_ELSEWHERE = f"or run `make objects` in a checkout of this version on another host, and copy its file to {OBJECTS}"
_REMEDY = f"apt-get install python3-bpfcc linux-headers-amd64; {_ELSEWHERE}"
_TOO_SLOW = f"start it again when this host is less busy; {_ELSEWHERE}"

_MAX_REPORTED = 3
"""Maximum number of files that don't fit named in an error."""


class ProgramMismatch(LannerError):
    """A cached program is not for this host, or not trustworthy; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class BuildTarget:
    """The facts that a compiled program depends on; it fits if all of them are equal."""

    program: str
    """Digest of source, compiler and sizes."""

    @property
    def file_name(self) -> str:
        """Name of its file."""
        return f"bpf-{self.program[:12]}.json"


def compiled(cache: Path) -> Compilation:
    """Return the compiled program, from OBJECTS or the cache or else compiled and cached, with this kernel's numbers.

    Args:
        cache: folder for what is compiled and read here.

    Raises:
        EnvironmentUnsupported: the kernel lacks something; or none fits, and this host can't compile.
    """
    check_rights()
    numbers = _numbers(cache)
    fit = build_target()
    found, unfit = find_program([OBJECTS, cache / fit.file_name], fit)
    if found is not None:
        return _with(numbers, found[1])
    try:
        result = _compile()
    except EnvironmentUnsupported as error:
        lacking = f"{error.reason}; and no program compiled elsewhere fits: {'; '.join(unfit) or 'there is none'}"
        raise EnvironmentUnsupported(lacking, error.remedy) from error
    with suppress(OSError):
        store_program(cache / fit.file_name, result, fit)
    return _with(numbers, result)


def find_compiled(cache: Path) -> tuple[Path | None, list[str]]:
    """Return the compiled program that a start would use, and why others don't fit."""
    fit = build_target()
    found, unfit = find_program([OBJECTS, cache / fit.file_name], fit)
    return None if found is None else found[0], unfit


def _with(numbers: Mapping[str, int], found: Mapping[str, Any]) -> Compilation:
    return Compilation(found["maps"], found["variants"], numbers)


def _numbers(cache: Path) -> dict[str, int]:
    """Read them from the cache if they are the running kernel's, because BTF takes a tenth of a second or more."""
    parts = (fingerprint(), repr(HERE.REGISTERS | HERE.CONSTANTS), *(path.read_text() for path in _READERS))
    path = cache / f"kernel-{hashlib.sha256(''.join(parts).encode()).hexdigest()[:24]}.json"
    with suppress(ProgramMismatch, FileNotFoundError):
        return {str(name): int(value) for name, value in read_object(path).items()}
    numbers = numbers_of()
    with suppress(OSError):
        write_atomically(path, [json.dumps(numbers).encode()], is_shared=True)
    return numbers


def _flags() -> list[str]:
    # The rings get their sizes at load time: one compilation serves all settings.
    sizes = {
        "EVENT_PAGES": RingSizes().events // _PAGE,
        "LIFECYCLE_PAGES": RingSizes().lifecycle // _PAGE,
        "MASK_WORDS": MASK_BITS // 64,
        "MAX_PREFIX": MAX_PREFIX,
        "CLASSES": CLASSES,
        "MAX_ROWS": MAX_ROWS,
        "MAX_TESTS": MAX_TESTS,
        "MAX_VALUES": MAX_VALUES,
        "REPEAT_SLOTS": REPEAT_SLOTS,
        "REPEAT_BYTES": REPEAT_BYTES,
    }
    called = {f"CALL_{name.upper()}": number for name, number in CALLED.items()}
    return ["-w", *(f"-D{name}={value}" for name, value in {**sizes, **called, **relocations.definitions()}.items())]


def build_target() -> BuildTarget:
    """Return what a program has to be compiled for: these sources."""
    parts = (_source(), _COMPILER.read_text(), *_flags())
    return BuildTarget(hashlib.sha256("\n".join(parts).encode()).hexdigest())


def _source() -> str:
    # One text: BCC only makes programs of functions in its main file.
    return SOURCE.read_text() + _URING_SOURCE.read_text()


def _compile() -> dict[str, Any]:
    # Imported here, because most starts compile nothing: 0.2 MiB.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(2) as pool:
        typed, untyped = pool.map(_compile_with, ([f"-DCAST_CALL={CAST_CALL}"], []))
    variants = {
        variant: {name: _linked(found["programs"][name], found["programs"]) for name in FUNCTIONS}
        for variant, found in ((TYPED, typed), (UNTYPED, untyped))
    }
    return {"bcc": typed["bcc"], "maps": typed["maps"], "variants": variants}


def _linked(program: Mapping[str, Any], functions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a program with the functions that it calls, and with the places where it holds the kernel's numbers."""
    code, maps, called = bytearray(b64decode(program["code"])), list(program["maps"]), {}
    for name, number in CALLED.items():
        if relocations.redirect(code, number, None):
            called[name] = len(code)
            maps += [(len(code) + at, map_name) for at, map_name in functions[name]["maps"]]
            code += b64decode(functions[name]["code"])
    for at, _ in maps:
        # The compiler's descriptor; without it, the same source gives the same bytes.
        struct.pack_into("<i", code, at + 4, 0)
    found = [astuple(each) for each in relocations.find(code)]
    packed = b64encode(zlib.compress(code, 9)).decode()
    return {"code": packed, "maps": maps, "called": called, "relocations": found}


def _compile_with(flags: list[str]) -> dict[str, Any]:
    # Imported here, because most starts compile nothing: 0.4 MiB.
    import tempfile  # noqa: PLC0415

    try:
        with tempfile.TemporaryDirectory(prefix="lanner-bpf-") as folder:
            return _compile_in(Path(folder), flags)
    except subprocess.TimeoutExpired:
        reason = f"the BPF program could not be compiled within {_COMPILE_SECONDS} seconds"
        raise EnvironmentUnsupported(reason, _TOO_SLOW) from None
    except OSError as error:
        raise EnvironmentUnsupported(f"the BPF program could not be compiled: {error}", _REMEDY) from error


def _compile_in(folder: Path, flags: list[str]) -> dict[str, Any]:
    output, source = folder / "out.json", folder / SOURCE.name
    source.write_text(_source())
    names = [str(source), str(output), *FUNCTIONS, *CALLED]
    command = [SYSTEM_PYTHON, "-I", str(_COMPILER), *names, "--", *_flags(), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    if done.returncode != 0:
        message = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise EnvironmentUnsupported(f"the BPF program could not be compiled: {message[0]}", _REMEDY)
    result: dict[str, Any] = json.loads(output.read_text())
    return result


def find_program(paths: Sequence[Path], target: BuildTarget) -> tuple[tuple[Path, dict[str, Any]] | None, list[str]]:
    """Find a program that was compiled for a target.

    Args:
        paths: files, or folders of them; the first that fits is used.
        target: the required target.

    Returns:
        File and compilation, if there is one, and the first few that don't fit with the reasons.
    """
    unfit: list[str] = []
    for searched in paths:
        try:
            inside = searched.glob("*.json") if searched.is_dir() else [searched]
            files = sorted(inside, key=lambda path: path.name != target.file_name)
        except PermissionError as error:
            unfit.append(f"{searched}: can't be read: {error.strerror}")
            continue
        for path in files:
            try:
                return (path, read_program(path, target)), unfit
            except FileNotFoundError:
                continue
            except ProgramMismatch as reason:
                unfit.append(f"{path}: {reason}")
    return None, unfit[:_MAX_REPORTED]


def read_program(path: Path, target: BuildTarget) -> dict[str, Any]:
    """Read a program if it fits and can be trusted. Raises ProgramMismatch, OSError."""
    found = read_object(path)
    try:
        made_for = BuildTarget(**found["made_for"])
        programs = bool(found["maps"]) and all(found["variants"].values())
    except (AttributeError, KeyError, TypeError):
        raise ProgramMismatch("not a compiled program of this version of Lanner") from None
    if not programs:
        raise ProgramMismatch("empty file")
    if made_for.program != target.program:
        raise ProgramMismatch("compiled by another version of Lanner")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that only root, this user or the owner of this code can have written.

    Raises:
        ProgramMismatch: it can't be read, or others can have written it.
        FileNotFoundError: there is no file.
    """
    try:
        found = json.loads(read_trusted(path))
    except UntrustedFile as error:
        raise ProgramMismatch(str(error)) from None
    except ValueError:
        raise ProgramMismatch("not a compiled program, or truncated") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ProgramMismatch(f"can't be read: {error.strerror}") from None
    if not isinstance(found, dict):
        raise ProgramMismatch("not a compiled program, or truncated")
    return found


def store_program(path: Path, compilation: dict[str, Any], made_for: BuildTarget) -> None:
    """Store a program atomically. Raises OSError."""
    stored = {"made_for": asdict(made_for), **compilation}
    write_atomically(path, [json.dumps(stored).encode()], is_shared=True)


def main(arguments: Sequence[str]) -> None:
    """Print the file of the program in OBJECTS, compiled now unless it's there; with --find, only look for it."""
    fit = build_target()
    found, _ = find_program([OBJECTS], fit)
    if found is None and arguments == ["--find"]:
        sys.exit(1)
    if found is None:
        OBJECTS.mkdir(mode=0o755, exist_ok=True)
        path = OBJECTS / fit.file_name
        try:
            check_rights()
            store_program(path, _compile(), fit)
        except EnvironmentUnsupported as error:
            sys.exit(f"lanner: {error}: {error.remedy}")
        # Users may look for it as well; without it, `make run` would install a compiler.
        path.chmod(0o644)
        for other in set(OBJECTS.glob("bpf-*.json")) - {path}:
            other.unlink()
    sys.stdout.write(f"{OBJECTS / fit.file_name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
