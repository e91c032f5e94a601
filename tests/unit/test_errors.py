"""Every exception that Lanner defines has one root, so that one clause catches them all."""

import ast
import builtins
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("foundation", "schemas", "bus", "collector", "processor", "notifier", "lanner")


def test_every_exception_is_below_lanner_error() -> None:
    """A class that derives from an exception of Python derives from LannerError as well."""
    bases: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    names = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                    bases[node.name] = bases.get(node.name, set()) | names

    def above(name: str) -> set[str]:
        found, waiting = set[str](), {name}
        while waiting:
            found |= waiting
            waiting = set[str]().union(*(bases.get(each, ()) for each in waiting)) - found
        return found

    def is_exception(name: str) -> bool:
        kind = getattr(builtins, name, None)
        return isinstance(kind, type) and issubclass(kind, BaseException)

    exceptions = {name for name in bases if any(map(is_exception, above(name)))}
    assert len(exceptions) > 50
    assert {name for name in exceptions if "LannerError" not in above(name)} == set()
