"""Optional libraries: whether they are installed, and the command that installs them in this environment.

No message names the package `lanner` itself: an index may have a package of that name that is not this one.
"""

import importlib.util
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bus.connection import BusUnavailable

_IMAGES = {
    "console": "all-in-one",
    "kubernetes": "processor",
    "lsp": "all-in-one",
    "sigma": "all-in-one",
    "inventory": "all-in-one",
    "metrics": "all-in-one",
    "apprise": "notifier",
    "iceberg": "archive",
    "registry": "processor",
}
"""The image that has the libraries of an extra; the others are named like their extra."""
_APART = frozenset({"archive", "iceberg"})
"""The extras that are not among `all`, because their libraries are larger than all others together: only an image of
their own has them."""
_REQUIREMENT = re.compile(r"\s*([\w.-]+)")


@dataclass(frozen=True, slots=True)
class Environment:
    """How a program was installed."""

    prefix: Path = Path(sys.prefix)
    package: Path = Path(__file__).resolve().parents[1]
    """The folder of the package `lanner`."""
    is_frozen: bool = bool(getattr(sys, "frozen", False))
    image: str = os.environ.get("LANNER_IMAGE", "")
    """The name of the container image; empty outside of one."""

    @property
    def is_checkout(self) -> bool:
        """True if the program runs from a checkout."""
        return (self.package / "deploy" / "setup" / "setup.sh").is_file()


def need(extra: str, *modules: str) -> None:
    """Check that the libraries of an extra are installed. Raises BusUnavailable with the command that adds them."""
    for module in modules:
        if not has_module(module):
            raise BusUnavailable(f"the {module} library is not installed", remedy(extra))


def has_module(*names: str) -> bool:
    """Return whether libraries are installed."""
    try:
        # Don't search for loaded modules: Faust replaces itself by one without a specification.
        return all(name in sys.modules or importlib.util.find_spec(name) is not None for name in names)
    except ModuleNotFoundError:
        return False


def remedy(extra: str, environment: Environment | None = None) -> str:
    """Return how to add the libraries of an extra here. environment: how this program was installed, if elsewhere."""
    here = environment or Environment()
    if here.is_frozen and extra in _APART:
        return "no package or tarball holds it: docs/archive.md describes how to install it beside them"
    if here.is_frozen:
        return "this program holds the collector only; docs/installing.md describes the other stages"
    if here.image:
        image = _IMAGES.get(extra, extra)
        name = f"lanner-{image}" if here.image != image else "lanner-all-in-one"
        return f"the image lanner-{here.image} doesn't hold it: use the image {name}"
    if extra not in _APART and here.is_checkout and here.prefix == here.package / ".venv":
        return f"run: make -C {shlex.quote(str(here.package))} setup"
    return f"run: {_installer(here)} {' '.join(map(shlex.quote, missing(extra)))}"


def missing(extra: str) -> list[str]:
    """Return the requirements of an extra that are not installed, or all of them if that is unknown."""
    found = list(_requirements(extra))
    return [each for each in found if not _is_installed(each)] or found or [extra]


def _requirements(extra: str) -> Iterator[str]:
    # Imported here, because it takes 1 MiB.
    from importlib import metadata  # noqa: PLC0415

    try:
        lines = metadata.requires("lanner") or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        requirement, _, marker = line.partition(";")
        if re.search(rf"""extra == ["']{extra}["']""", marker):
            yield requirement.strip()


def _is_installed(requirement: str) -> bool:
    from importlib import metadata  # noqa: PLC0415

    name = _REQUIREMENT.match(requirement)
    try:
        return name is not None and bool(metadata.version(name[1]))
    except metadata.PackageNotFoundError:
        return False


def _installer(here: Environment) -> str:
    """Return the command that installs packages into an environment."""
    if here.prefix.parent.name == "venvs" and here.prefix.parent.parent.name == "pipx":
        return f"pipx inject {shlex.quote(here.prefix.name)}"
    pip = here.prefix / "bin" / "pip"
    if pip.exists():
        return f"{shlex.quote(str(pip))} install"
    return f"{shlex.quote(str(here.prefix / 'bin' / 'python3'))} -m pip install"
