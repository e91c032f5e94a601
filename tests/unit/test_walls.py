"""Packages import each other in one direction only, whether the import is at the top of a module or in a function."""

import ast
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = PYPROJECT["tool"]["importlinter"]["root_packages"]


def modules() -> dict[tuple[str, ...], Path]:
    """Return the source files by the parts of their modules' names."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {
        tuple(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"): path
        for path in paths
    }


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names that a file imports, as parts."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((*(node.module or "").split("."), alias.name) for alias in node.names)


def circles() -> list[list[str]]:
    """Return a circle of imports for each package among whose modules and packages there is one."""
    known = modules()
    siblings: defaultdict[tuple[str, ...], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, path in known.items():
        for target in imported(path):
            module = target if target in known else target[:-1]
            common = next((at for at, (a, b) in enumerate(zip(name, module, strict=False)) if a != b), None)
            if module in known and common is not None:
                siblings[name[:common]][name[common]].add(module[common])
    found = []
    for package, edges in siblings.items():
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            found.append([".".join((*package, each)) for each in error.args[1]])
    return found


def test_no_packages_import_each_other() -> None:
    """Neither in pairs nor around a longer circle, at any depth."""
    assert len(modules()) > 300
    assert circles() == []


def test_no_two_public_classes_have_one_name() -> None:
    """A name means one thing everywhere."""
    trees = map(parsed, modules().values())
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []


def test_contracts_have_no_exceptions() -> None:
    """An import that crosses a wall is cut, not listed."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    assert [contract["name"] for contract in contracts if contract.get("ignore_imports")] == []
