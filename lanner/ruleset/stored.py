"""Stores loaded rules in a file, so that a start with the same rules neither parses nor checks them again.

The file is one of Python's pickles. Like a compiled program, it counts only if nobody but root, this user or the owner
of this code can have written it; and it can name no function, and no class but Lanner's own.
"""

# Without its part in Python, which takes 0.3 MiB.
import _pickle
import gc
import io
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any

import lanner
from foundation.files import UntrustedFile, read_trusted, write_atomically
from foundation.yaml.text import TracedText
from lanner.ruleset.active import ActiveRules, RuleChoices
from processor.compiler.batch import TypeClass
from processor.language import ast

_CODE = Path(lanner.__file__).parents[1]
_PACKAGES = ("collector", "foundation", "lanner", "processor", "schemas")
"""What rules are loaded by, and what they consist of."""
_PROTOCOL = 5
"""The newest of Python 3.8 and later."""
_KEPT = 4
"""Files in a folder: those of the rules before, and of another version."""


@dataclass(frozen=True, slots=True)
class RuleUses:
    """What the enabled rules use that is collected only for those that do."""

    variables: frozenset[str]
    """As variables_in() returns them."""
    has_looked_up_names: bool
    compares_events: bool
    """True if rules compare events with those before them, so that all matter."""
    host_names: tuple[str, ...]
    """Host names that rules compare addresses with."""


@dataclass(frozen=True, slots=True)
class StoredRules:
    """What is computed from rule files and settings, and takes most of the time of a start."""

    rules: ActiveRules
    encoded_filter: bytes
    """The pushdown filter, which takes eight times as much memory decoded, and is needed once."""
    uses: RuleUses
    classes: tuple[Sequence[TypeClass], Sequence[TypeClass]]
    """As in RulesetOptions."""


class RuleStore:
    """Loaded rules in files of a folder.

    Args:
        folder: created by the first write.
        choices: the rules.
        warnings: whether their notices include warnings.
    """

    def __init__(self, folder: Path, choices: RuleChoices, *, warnings: bool) -> None:
        parts = (platform.machine(), sys.version, lanner.__version__, *_code(), warnings, choices)
        digest = blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self._path = folder / f"rules-{digest}.pickle"

    def read(self) -> StoredRules | None:
        """Return the rules; None if they aren't stored, others can have written the file, or a list's file changed."""
        enabled = gc.isenabled()
        # What is read has no cycles, and searching it for them takes as long as reading it.
        gc.disable()
        try:
            found = _Reader(io.BytesIO(read_trusted(self._path))).load()
        except (OSError, UntrustedFile):
            return None
        except Exception:  # noqa: BLE001  a damaged pickle may raise anything
            return None
        finally:
            if enabled:
                gc.enable()
        return found if isinstance(found, StoredRules) and not _have_changed(found.rules) else None

    def write(self, stored: StoredRules) -> None:
        """Store rules, if possible, and remove the oldest files of others."""
        content = io.BytesIO()
        # RecursionError: a condition is too deep.
        with suppress(OSError, RecursionError):
            _Writer(content).dump(replace(stored, rules=_without_texts(stored.rules)))
            write_atomically(self._path, [content.getvalue()], is_shared=True)
            files = sorted(self._path.parent.glob("rules-*.pickle"), key=lambda path: path.stat().st_mtime_ns)
            for path in files[:-_KEPT]:
                path.unlink(missing_ok=True)


def _without_texts(rules: ActiveRules) -> ActiveRules:
    """Return rules without their files' texts, which only checks of rules and their messages need: 2 MiB."""
    nowhere = TracedText.of(())
    macros = {name: replace(each, extensions={}, traced=nowhere) for name, each in rules.macros.items()}
    lists = {name: replace(each, nodes=()) for name, each in rules.lists.items()}
    changed = (replace(each, extensions={}, traced=nowhere, traced_output=None) for each in rules.rules)
    return replace(rules, rules=tuple(changed), macros=macros, lists=lists)


def _have_changed(rules: ActiveRules) -> bool:
    """Return whether a file of indicators isn't the one that was read: the notices state what is wrong with it."""
    try:
        return any(each.indicators.has_changed() for each in rules.indicators.values())
    except OSError:
        return True


class _Writer(_pickle.Pickler):
    """Writes equal texts and positions once, so that they take memory once when they are read."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, _PROTOCOL)
        self._written: dict[object, object] = {}

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Enum):
            # By default a member of an enumeration is a call of getattr(), which could return anything.
            return type(value), (value.value,)
        if isinstance(value, type) or not is_dataclass(value) or not all(each.init for each in fields(value)):
            return NotImplemented
        # The text that a span refers to is left out.
        left_out = {"span": ast.NO_SPAN} if type(value).__module__ == ast.__name__ else {}
        found = (left_out.get(each.name) or getattr(value, each.name) for each in fields(value))
        # A call of its class: by default a function of Python's sets each field, which takes twice as long.
        return type(value), tuple(map(self._shared, found))

    def _shared(self, value: object) -> object:
        # No other tuples: those can be equal and differ, such as (1,) and (True,).
        is_position = type(value) is tuple and all(type(each) is int for each in value)
        return self._written.setdefault(value, value) if is_position or type(value) is str else value


class _Reader(_pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] in _PACKAGES:
            found = super().find_class(module, name)
            # A name may be a path through a module's imports, such as os.system.
            if isinstance(found, type) and found.__module__.partition(".")[0] in _PACKAGES:
                return found
        raise _pickle.UnpicklingError(f"{module}.{name} is no part of rules")


def _code() -> Iterator[str]:
    """Yield what changes whenever a file of the code does; a frozen program is one file."""
    for package in _PACKAGES:
        for folder, folders, names in os.walk(_CODE / package):
            folders[:] = sorted(set(folders) - {"__pycache__"})
            yield from (_facts(f"{folder}/{name}") for name in sorted(names))
    yield _facts(sys.executable)


def _facts(path: str) -> str:
    found = os.stat(path)  # noqa: PTH116 - of 700 files at each start
    return f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
