import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bus.connection import BusUnavailable
from lanner.libraries import Environment, missing, need, remedy
from tests.unit.lanner.blocked import PROGRAM

LIBRARIES = (
    *("aiohttp", "apprise", "authlib", "confluent_kafka", "cryptography", "faust", "jinja2", "joserfc", "lightkube"),
    *("msgspec", "prometheus_client", "pygls", "sigma", "slack_sdk", "urllib3"),
)


# As rows and columns of a square: each library is missed also where any other one is installed.
GROUPS = [LIBRARIES[4 * each : 4 * each + 4] for each in range(4)] + [LIBRARIES[each::4] for each in range(4)]


@pytest.mark.parametrize("libraries", GROUPS, ids=" ".join)
def test_help_preview_and_check_work_without_a_library(libraries: Sequence[str]) -> None:
    """For every command and every sink, and with the settings that `run` has by default."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *libraries], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


SERVICES = (
    ("collector", ("_collect", "checked_filter", "_command"), "collector"),
    ("processor", ("command",), "processor"),
    ("notifier", ("command", "_broker", "_deliver", "_changed", "open_intake"), "notifier"),
    ("kubernetes", ("kubernetes_audit",), "notifier"),
    ("kubernetes", ("kubernetes",), "kubernetes"),
    ("console", ("command", "_serve", "_folder"), "console"),
    ("archive", ("command", "_run", "archive_service"), "archive"),
    ("run", ("command", "_run_with_metrics"), "none"),
)
"""Module, its functions and its stage's that run the service, and the extra whose libraries it needs."""
EXTRAS = {
    "none": set(),
    "collector": {"confluent_kafka", "prometheus_client"},
    "processor": {"confluent_kafka", "prometheus_client", "cryptography", "faust", "aiohttp"},
    "notifier": {"confluent_kafka", "prometheus_client", "aiohttp", "jinja2", "slack_sdk", "urllib3"},
    "kubernetes": {"confluent_kafka", "prometheus_client", "lightkube", "msgspec"},
    "archive": {"confluent_kafka", "prometheus_client", "cryptography"},
    "console": {*("confluent_kafka", "prometheus_client", "aiohttp", "jinja2", "cryptography", "authlib", "joserfc")},
}
IMPORTING = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split():
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
for name in sys.argv[2:]:
    __import__(name)
"""


@pytest.mark.parametrize(("module", "functions", "extra"), SERVICES)
def test_a_service_runs_with_the_libraries_of_its_image(module: str, functions: Sequence[str], extra: str) -> None:
    """It also imports when it runs; two services in one module need different libraries."""
    folder = Path(__file__).parents[3] / "lanner"
    files = [folder / f"{each}/{module}.py" for each in ("commands/services", "wiring/stages")]
    body = [node for file in files if file.exists() for node in ast.parse(file.read_text()).body]
    running = [each for each in body if isinstance(each, ast.FunctionDef) and each.name in functions]
    assert len(running) == len(functions)
    imports = [node for each in running for node in ast.walk(each) if isinstance(node, ast.ImportFrom)]
    names = [f"lanner.commands.services.{module}", *sorted({str(node.module) for node in imports})]
    absent = " ".join(set(LIBRARIES) - EXTRAS[extra])
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, absent, *names], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_missing_library_is_named_with_the_command_that_installs_it_here(tmp_path: Path) -> None:
    """Never by a name that an index may give to somebody else."""
    with pytest.raises(BusUnavailable, match=r"the no_such_library library is not installed: run: make -C .* setup"):
        need("notifier", "no_such_library")
    checkout = tmp_path / "src"
    (checkout / "deploy" / "setup").mkdir(parents=True)
    (checkout / "deploy" / "setup" / "setup.sh").touch()
    environment = Environment(checkout / ".venv", checkout, is_frozen=False, image="")
    assert remedy("notifier", environment) == f"run: make -C {checkout} setup"

    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "pip").touch()
    command = remedy("apprise", replace(environment, prefix=venv))
    assert command == f"run: {venv}/bin/pip install 'apprise<3,>=1.9'"
    (venv / "bin" / "pip").unlink()
    assert remedy("apprise", replace(environment, prefix=venv)).startswith(f"run: {venv}/bin/python3 -m pip install ")
    pipx = replace(environment, prefix=tmp_path / "pipx" / "venvs" / "lanner")
    assert remedy("apprise", pipx) == "run: pipx inject lanner 'apprise<3,>=1.9'"
    image = replace(environment, image="processor")
    assert remedy("notifier", image) == "the image lanner-processor doesn't hold it: use the image lanner-notifier"
    assert "lanner-all-in-one" in remedy("notifier", replace(environment, image="notifier"))
    assert remedy("archive", image) == "the image lanner-processor doesn't hold it: use the image lanner-archive"
    assert "docs/archive.md" in remedy("archive", replace(environment, is_frozen=True))
    assert "holds the collector only" in remedy("notifier", replace(environment, is_frozen=True))


def test_only_what_is_missing_has_to_be_installed() -> None:
    """An extra without a missing library names all of its libraries, and an unknown one itself."""
    assert {name.partition("<")[0] for name in missing("metrics")} >= {"prometheus-client>=0.22"}
    assert missing("no-such-extra") == ["no-such-extra"]


def test_no_message_or_page_names_the_package_on_an_index() -> None:
    """Whoever registered the name there could run code as root at our advice."""
    root = Path(__file__).parents[3]
    files = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("deploy/**/*.md")]
    for package in ("lanner", "bus", "collector", "processor", "notifier"):
        files += root.glob(f"{package}/**/*.py")
    advice = re.compile(r"pipx? install ['\"]?lanner\b(?!/|-)")
    assert [str(each) for each in files if advice.search(each.read_text())] == []
