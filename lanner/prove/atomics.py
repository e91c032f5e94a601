"""Reads attack steps in the format of Atomic Red Team.

Source: Atomic Red Team's atomic_red_team/spec.yaml.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from foundation.text import did_you_mean
from foundation.yaml import mappings
from foundation.yaml.mappings import BadMapping, MappingReader
from foundation.yaml.nodes import Node, SequenceNode, SourceFile, SourceLocation, YamlError
from foundation.yaml.reading import read_documents

EXECUTORS = ("sh", "bash", "manual")
"""Those of Linux; `manual` is for people."""
OTHER_EXECUTORS = ("command_prompt", "powershell")
_MAX_BYTES = 4 * 1024 * 1024
_MAX_TEXT = 128 * 1024
"""Longer ones can't be the argument of a program. Source: execve(2)."""
_ARGUMENT = re.compile(r"#\{([\w.-]+)\}")
_FOLDER = re.compile(r"\$?PathToAtomicsFolder")
_TECHNIQUE = re.compile(r"T\d{4}(\.\d{3})?")


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """What a test needs, how to ask whether it is there, and how to get it."""

    description: str
    check: str
    get: str


@dataclass(frozen=True, slots=True)
class AtomicTest:
    """One test of a technique."""

    guid: str
    technique: str
    """ATT&CK id, such as T1053.003."""
    number: int
    """Position in its file, from 1."""
    name: str
    executor: str
    command: str
    as_root: bool
    prerequisites: tuple[Prerequisite, ...]
    arguments: Mapping[str, str]
    """The defaults of its arguments."""
    cleanup: str = ""
    """What undoes it, where it ran on a host: a guest vanishes."""
    problem: str = ""
    """Why it can't run; empty if its file is right."""

    def filled(self, folder: str) -> "AtomicTest":
        """Return the test with its arguments in place.

        Args:
            folder: where the files beside the tests are when it runs.

        Raises:
            ValueError: a text gets too long.
        """
        longest = max(map(len, self.arguments.values()), default=0)

        def fill(text: str) -> str:
            # The default of an argument may name another one.
            for _ in range(3):
                if len(text) + longest * len(_ARGUMENT.findall(text)) > _MAX_TEXT:
                    raise ValueError("its command is too long")
                text = _ARGUMENT.sub(lambda match: self.arguments.get(match[1], match[0]), text)
            return _FOLDER.sub(folder, text)

        needs = tuple(
            Prerequisite(fill(each.description), fill(each.check), fill(each.get)) for each in self.prerequisites
        )
        return replace(self, command=fill(self.command), cleanup=fill(self.cleanup), prerequisites=needs)


@dataclass(frozen=True, slots=True)
class BadAtomic:
    """An error in a file; its other tests are still read."""

    message: str
    location: SourceLocation
    hint: str = ""


def read_folder(folder: Path) -> tuple[list[AtomicTest], list[BadAtomic]]:
    """Return the Linux tests of all YAML files below a folder, in the order of techniques, with all errors."""
    tests: list[AtomicTest] = []
    problems: list[BadAtomic] = []
    for path in sorted(path for ending in ("yaml", "yml") for path in folder.rglob(f"T*/T*.{ending}")):
        try:
            with path.open("rb") as opened:
                data = opened.read(_MAX_BYTES + 1)
            text = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
            problems.append(BadAtomic(f"can't be read: {reason}", SourceFile(str(path), "").locate(0, 0)))
            continue
        file = SourceFile(str(path), text)
        if len(data) > _MAX_BYTES:
            problems.append(BadAtomic("is larger than 4 MiB", file.locate(0, 0)))
            continue
        found, wrong = read_tests(file)
        tests += found
        problems += wrong
    return tests, problems


def read_tests(file: SourceFile) -> tuple[list[AtomicTest], list[BadAtomic]]:
    """Return the Linux tests of a file, with all errors."""
    problems: list[BadAtomic] = []
    tests: list[AtomicTest] = []
    try:
        for document in read_documents(file):
            technique, nodes = _read_document(document)
            for number, node in enumerate(nodes, 1):
                try:
                    tests += _read_test(technique, number, node)
                except BadMapping as error:
                    problems.append(_problem(error))
                    tests.append(_unusable(technique, number, node, error.message))
    except YamlError as error:
        problems.append(BadAtomic(error.message, error.location, error.hint))
    except BadMapping as error:
        problems.append(_problem(error))
    return tests, problems


def _read_document(document: Node) -> tuple[str, Sequence[Node]]:
    table = MappingReader(document, "a file of tests")
    node = table.need("attack_technique", "the technique is missing", "add 'attack_technique: T1053.003'")
    technique = mappings.text(node, "attack_technique")
    if not _TECHNIQUE.fullmatch(technique):
        raise BadMapping(f"'{technique}' is not the id of a technique", node, "write it as in T1053.003")
    listed = table.need("atomic_tests", "the file has no tests", "add 'atomic_tests:' with a list")
    if not isinstance(listed, SequenceNode):
        raise BadMapping("'atomic_tests' takes a list", listed)
    return technique, listed.items


def _problem(error: BadMapping) -> BadAtomic:
    return BadAtomic(error.message, error.node.location, error.hint)


def _unusable(technique: str, number: int, node: Node, problem: str) -> AtomicTest:
    """Return a test that can't run, so that its place in the results isn't empty."""
    name = f"test {number}"
    with suppress(BadMapping):
        name = MappingReader(node, "a test").value(mappings.text, name, "name")
    return AtomicTest(f"{technique}#{number}", technique, number, name, "", "", False, (), {}, problem=problem)


def _read_test(technique: str, number: int, node: Node) -> Iterator[AtomicTest]:
    """Yield the test, unless it is for other systems."""
    table = MappingReader(node, "a test")
    platforms = table.value(mappings.texts, (), "supported_platforms")
    if "linux" not in platforms:
        return
    name = mappings.text(table.need("name", "a test has a name", "add 'name: …'"), "name")
    executor = MappingReader(table.need("executor", f"test '{name}' has no executor", "add 'executor:'"), "an executor")
    kind = executor.value(mappings.text, "", "name")
    if kind in OTHER_EXECUTORS:
        return
    if kind not in EXECUTORS:
        hint = did_you_mean(kind, EXECUTORS) or f"known are {', '.join(EXECUTORS)}"
        raise BadMapping(f"unknown executor '{kind}'", executor.get("name") or executor.node, hint)
    command = executor.value(mappings.text, "", "command")
    if kind != "manual" and not command.strip():
        raise BadMapping(f"test '{name}' has no command", executor.node, "add 'command: |'")
    arguments = table.value(mappings.pairs(_default), {}, "input_arguments")
    needs = table.get("dependencies")
    if needs is not None and not isinstance(needs, SequenceNode):
        raise BadMapping("'dependencies' takes a list", needs)
    listed = () if needs is None else needs.items
    yield AtomicTest(
        guid=table.value(mappings.text, "", "auto_generated_guid") or f"{technique}#{number}",
        technique=technique,
        number=number,
        name=name,
        executor=kind,
        command=command,
        as_root=executor.value(mappings.truth, False, "elevation_required"),
        prerequisites=tuple(_read_prerequisite(each) for each in listed),
        arguments=arguments,
        cleanup=executor.value(mappings.text, "", "cleanup_command"),
    )


def _default(node: Node, key: str) -> str:
    table = MappingReader(node, f"argument '{key}'")
    return table.value(mappings.text, "", "default")


def _read_prerequisite(node: Node) -> Prerequisite:
    table = MappingReader(node, "a dependency")
    texts = (table.value(mappings.text, "", key) for key in ("description", "prereq_command", "get_prereq_command"))
    return Prerequisite(*texts)
