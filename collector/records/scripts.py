"""Finds the script that an interpreter was started with, by its arguments.

Whoever starts an interpreter chooses its arguments, so they show what it was asked to run. Options are read only as far
as they are known to take no script's place: where one isn't, there is no script rather than a wrong one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_PATH = 4095


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of an interpreter that may stand before its script."""

    alone: re.Pattern[str]
    """Those that are complete."""
    with_value: frozenset[str]
    """Those that the next argument belongs to."""


def _options(alone: str, *with_value: str) -> _Options:
    return _Options(re.compile(alone), frozenset(with_value))


_SHELL = _options(
    r"[-+][abefhiklmnpruvxBCDEHPT]+|--(login|noediting|noprofile|norc|posix|restricted|verbose)",
    *("-o", "+o", "-O", "+O", "--rcfile", "--init-file"),
)
_PYTHON = _options(r"-[bBdEhiIOPqRsSuvVx]+|-[WX].+", "-W", "-X", "--check-hash-based-pycs")
_PERL = _options(r"-[acfnpsStTuUwWX]+|-[CDFilmM0].*|-I.+", "-I")
_RUBY = _options(r"-[alnpsSvwW]+[0-2]?|-[CEIrTK].+", "-C", "-E", "-I", "-r")
_NONE = _options(r"(?!)")
_INTERPRETERS = {
    **dict.fromkeys(("ash", "bash", "dash", "ksh", "mksh", "sh", "zsh"), _SHELL),
    **dict.fromkeys(("python", "pypy", "platform-python"), _PYTHON),
    "perl": _PERL,
    "ruby": _RUBY,
    **dict.fromkeys(("lua", "luajit", "node", "nodejs", "php", "tclsh"), _NONE),
}
"""By the name of the program without its version. Source: bash(1), dash(1), python(1), perlrun(1), ruby(1)."""
_VERSION = re.compile(r"[-_]?[0-9][0-9.]*(-[a-z0-9_-]+)?$")


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
    options = _INTERPRETERS.get(_VERSION.sub("", interpreter))
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
