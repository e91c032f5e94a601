import subprocess
import sys

import pytest


def run(program: str) -> str:
    """Run a program in a new interpreter and return what it prints."""
    start = "import sys\nfrom lanner.process.memory import import_core\n"
    done = subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_collector_imports_no_asyncio() -> None:
    """It takes 2 MiB of memory, and the Kafka client imports it."""
    modules = "collector.publishing.publisher, lanner.wiring.stages.collector, lanner.wiring.stages.fleet_collector"
    operations = "lanner.operations.server, lanner.operations.exposition, lanner.operations.collector"

    assert run(f"import_core()\nimport {modules}, {operations}\nprint('asyncio' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "use",
    [
        "from confluent_kafka import ThrottleEvent as whole",
        "import confluent_kafka\nwhole = confluent_kafka.TopicCollection",
        "from confluent_kafka.admin import AdminClient as whole",
        "from confluent_kafka.schema_registry import Schema as whole",
    ],
)
def test_what_is_not_imported_at_first_is_when_it_is_used(use: str) -> None:
    """The classes are the same ones."""
    program = f"import_core()\nfrom confluent_kafka import Producer as early\n{use}\nimport confluent_kafka\n"

    assert run(f"{program}print(whole.__name__, confluent_kafka.Producer is early)").endswith("True")


def test_a_name_that_does_not_exist_is_reported_as_ever() -> None:
    """Whatever was imported before."""
    program = "import_core()\nimport confluent_kafka\nprint([hasattr(confluent_kafka, 'Nothing') for _ in range(2)])"

    assert run(program) == "[False, False]"


def test_what_is_imported_already_stays() -> None:
    """Its classes are in use."""
    assert run(
        "import confluent_kafka as before\nimport_core()\nimport confluent_kafka\nprint(before is confluent_kafka)"
    )
