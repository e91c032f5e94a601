"""Reads the strings of an exec: the script in its arguments, and the variables of its environment.

Whoever starts an interpreter chooses its arguments, so they show what it was asked to run. Options are read only as far
as they are known to take no script's place: where one isn't, there is no script rather than a wrong one. The variables
are those to send, those that events show, and those by which programs run other code. Others may contain secrets: they
never leave the kernel.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from schemas.filter import EVERY_VARIABLE

_FOR_RULES, _FOR_PROGRAMS, _FOR_SCRIPTS = 1, 2, 4
VARIABLE_BYTES = 32
"""Bytes of a variable that the kernel side compares, at most."""

_LOADER = (
    *(b"LD_", b"GCONV_PATH=", b"GLIBC_TUNABLES=", b"GIO_EXTRA_MODULES=", b"GIO_MODULE_DIR=", b"KRB5_CONFIG="),
    *(b"OPENSSL_CONF=", b"OPENSSL_ENGINES=", b"OPENSSL_MODULES=", b"SASL_PATH="),
)
"""Beginnings of variables by which libraries load other libraries into a program.

A program that has more rights than whoever started it ignores them. Source: ld.so(8), iconv(1), krb5.conf(5),
openssl-env(7), the manuals of GIO and SASL.
"""
_INSTALLED = re.compile(
    rb"/(?:usr/lib(?:32|64|exec)?|usr/local|lib(?:32|64)?|snap|opt/containerd|var/lib/containerd/opt|var/lib/rancher)(?:/(?!\.\.(?:/|\Z))[^/]*)*"
)
"""Directories in which only root installs libraries."""
_BUNDLE = re.compile(rb"/|/(?:run|var/lib)/(?:[^/]+/)*io\.containerd\.runtime\.v2\.task/[^/]+/[^/]+")
"""Working directories of what containerd starts: it adds a directory to the search for libraries, and the working
directory by a colon too many."""
_PATH, _HOME = b"PATH=", b"HOME="
_SHELL = (b"BASHOPTS=", b"BASH_", b"DEBOOTSTRAP_", b"ENV=", b"ETCKEEPER_", b"PS4=", b"SHELLOPTS=")
_INTERPRETERS = {
    **dict.fromkeys(("ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"), _SHELL),
    "perl": (b"PERL",),
    **dict.fromkeys(("platform-python", "python"), (b"PYTHON",)),
    "ruby": (b"FACTERLIB=", b"GEM_", b"RUBY"),
}
"""Beginnings of variables by which each interpreter, or one of the trusted scripts, runs other code than the script's.
Source: bash(1), perlrun(1), python(1), ruby(1); env_reset in sudoers(5)."""
_COMMANDS = frozenset(
    f"{root}{name}".encode() for root in ("", "/usr", "/usr/local") for name in ("/bin", "/sbin", "/games")
) | {b"/snap/bin"}
"""Directories in which only root installs commands. A shell's script takes most of its commands from PATH."""
_HOMES = frozenset({b"/", b"/root"})
"""Home directories in which only root installs modules of Python and Ruby."""

_MAX_PATH = 4095
_VERSION = re.compile(r"[-_]?[0-9][0-9.]*(-[a-z0-9_-]+)?$")


def entries_of(block: bytes) -> list[bytes]:
    """Return the texts of a block, each of which ends with a NUL."""
    return block.removesuffix(b"\0").split(b"\0") if block else []


def kernel_keys(names: Iterable[str]) -> dict[bytes, int]:
    """Return the beginnings of the variables to send, and a bit for each use, as in lanner.bpf.c.

    The names are those of the variables that rules use; EVERY_VARIABLE sends all.
    """
    named = ("" if name == EVERY_VARIABLE else f"{name}=" for name in names)
    scripts = (_PATH, _HOME, *(each for own in _INTERPRETERS.values() for each in own))
    uses = {
        _FOR_RULES: {each.encode("utf-8", "surrogateescape")[:VARIABLE_BYTES] for each in named},
        _FOR_PROGRAMS: set(_LOADER),
        _FOR_SCRIPTS: set(scripts),
    }
    # The kernel finds the longest that a variable begins with.
    return {
        key: sum(use for use, keys in uses.items() if any(key.startswith(each) for each in keys))
        for key in set().union(*uses.values())
    }


def shown(environment: Iterable[bytes], names: frozenset[str]) -> Iterator[str]:
    """Yield the entries, NAME=value, of the variables that rules use; EVERY_VARIABLE selects all."""
    requested = {name.encode("utf-8", "surrogateescape") for name in names}
    for entry in environment:
        if EVERY_VARIABLE in names or entry.partition(b"=")[0] in requested:
            yield entry.decode("utf-8", "surrogateescape")


def code_path(
    exepath: str,
    script: str | None,
    environment: Sequence[bytes] | None,
    *,
    cwd: str | None = None,
    is_secure: bool = False,
) -> str | None:
    """Return the path of the program or script that a process runs; None if it may run code of whoever started it.

    Args:
        exepath: the kernel's path of the executable.
        script: the file that was executed, if its first line names the executable as its interpreter.
        environment: the variables that kernel_keys selects, at least; None if some are unknown.
        cwd: root's working directory; None if the user is another one, who may change it at the same time.
        is_secure: whether the kernel told the program that it has more rights than whoever started it.
    """
    if environment is None or not exepath:
        return None
    directory = (cwd or "").encode("utf-8", "surrogateescape")
    effective = tuple(entry for entry in environment if not _is_harmless(entry, directory))
    if not is_secure and any(entry.startswith(_LOADER) for entry in effective):
        return None
    if script is None:
        return exepath
    interpreter = exepath.rpartition("/")[2].rstrip("0123456789.")
    variables = _INTERPRETERS.get(interpreter)
    # A relative path could have led elsewhere, and the interpreter opens the script once more.
    if variables is None or not script.startswith("/") or os.path.normpath(script) != script:
        return None
    if any(entry.startswith(variables) for entry in effective):
        return None
    if variables is _SHELL and not _values(environment, _PATH, b":") <= _COMMANDS:
        return None
    if interpreter.endswith(("python", "ruby")) and not _values(environment, _HOME) <= _HOMES:
        return None
    return script


def _is_harmless(entry: bytes, cwd: bytes) -> bool:
    """Return whether a variable has no value, or only adds directories of root's, as images and services do."""
    name, _, value = entry.partition(b"=")
    if name != b"LD_LIBRARY_PATH":
        return not value
    is_harmless_here = bool(_BUNDLE.fullmatch(cwd))
    return not value or all(
        _INSTALLED.fullmatch(each) if each else is_harmless_here for each in re.split(b"[:;]", value)
    )


def _values(environment: Iterable[bytes], variable: bytes, separator: bytes = b"\0") -> set[bytes]:
    """Return the values of a variable that may be set twice."""
    found = (entry.removeprefix(variable) for entry in environment if entry.startswith(variable))
    return {value for values in found for value in values.split(separator)}


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of an interpreter that may stand before its script."""

    alone: re.Pattern[str]
    """Those that are complete."""
    with_value: frozenset[str]
    """Those that the next argument belongs to."""


def _options(alone: str, *with_value: str) -> _Options:
    return _Options(re.compile(alone), frozenset(with_value))


_SHELL_OPTIONS = _options(
    r"[-+][abefhiklmnpruvxBCDEHPT]+|--(login|noediting|noprofile|norc|posix|restricted|verbose)",
    *("-o", "+o", "-O", "+O", "--rcfile", "--init-file"),
)
_PYTHON_OPTIONS = _options(r"-[bBdEhiIOPqRsSuvVx]+|-[WX].+", "-W", "-X", "--check-hash-based-pycs")
_PERL_OPTIONS = _options(r"-[acfnpsStTuUwWX]+|-[CDFilmM0].*|-I.+", "-I")
_RUBY_OPTIONS = _options(r"-[alnpsSvwW]+[0-2]?|-[CEIrTK].+", "-C", "-E", "-I", "-r")
_NO_OPTIONS = _options(r"(?!)")
_OPTIONS_OF = {
    **dict.fromkeys(("ash", "bash", "dash", "ksh", "mksh", "sh", "zsh"), _SHELL_OPTIONS),
    **dict.fromkeys(("python", "pypy", "platform-python"), _PYTHON_OPTIONS),
    "perl": _PERL_OPTIONS,
    "ruby": _RUBY_OPTIONS,
    **dict.fromkeys(("lua", "luajit", "node", "nodejs", "php", "tclsh"), _NO_OPTIONS),
}
"""By the name of the program without its version. Source: bash(1), dash(1), python(1), perlrun(1), ruby(1)."""


def script_of(exepath: str, args: Sequence[str], cwd: str, executed: str | None) -> str | None:
    """Return the path of the script that a program runs; None if it runs none, or which is unknown.

    Args:
        exepath: the kernel's path of the executable.
        args: all arguments, with the first.
        cwd: the working directory.
        executed: the file that was executed, if its first line names the executable as its interpreter.
    """
    name = executed or _argument(exepath, args)
    if not name or name.startswith("/dev/fd/"):
        return None
    path = name if name.startswith("/") else f"{cwd.rstrip('/')}/{name.removeprefix('./')}"
    return path if path.startswith("/") and len(path) <= _MAX_PATH and "\0" not in path else None


def _argument(exepath: str, args: Sequence[str]) -> str | None:
    interpreter = exepath.rpartition("/")[2]
    if interpreter == "busybox" and args:
        interpreter = args[0].rpartition("/")[2]
    options = _OPTIONS_OF.get(_VERSION.sub("", interpreter))
    if options is None:
        return None
    rest = iter(args[1:])
    for each in rest:
        if each in options.with_value:
            next(rest, None)
        elif each == "--":
            return next(rest, None)
        elif each == "-" or (each.startswith(("-", "+")) and not options.alone.fullmatch(each)):
            return None
        elif not each.startswith(("-", "+")):
            return each
    return None
