from pathlib import Path

import pytest

from foundation.yaml.nodes import SourceFile
from lanner.prove.atomics import read_folder, read_tests

FILE = """
attack_technique: T1053.003
atomic_tests:
- name: Write a job
  auto_generated_guid: 4ff61684-0000-0000-0000-000000000001
  supported_platforms: [linux, macos]
  input_arguments:
    folder: {description: where, type: path, default: /etc/cron.d}
    job: {description: what, type: path, default: "#{folder}/job"}
  dependencies:
  - description: it is there
    prereq_command: "test -d #{folder}"
    get_prereq_command: "mkdir #{folder}"
  executor:
    name: sh
    elevation_required: true
    command: "cp $PathToAtomicsFolder/T1053.003/src/job #{job}"
    cleanup_command: "rm #{job}"
- name: Of another system
  supported_platforms: [windows]
  executor: {name: powershell, command: x}
"""


def test_a_test_is_filled_with_its_defaults_and_the_folder() -> None:
    """The default of an argument may name another argument; tests of other systems are left out."""
    tests, problems = read_tests(SourceFile("T1053.003.yaml", FILE))
    (test,) = tests
    assert problems == []
    assert (test.technique, test.number, test.as_root) == ("T1053.003", 1, True)
    filled = test.filled("/opt/atomics")
    assert filled.command == "cp /opt/atomics/T1053.003/src/job /etc/cron.d/job"
    assert filled.prerequisites[0].check == "test -d /etc/cron.d"


def test_an_argument_that_nobody_defined_stays_as_it_is() -> None:
    """An argument whose default names itself ends, too."""
    text = FILE.replace("#{folder}/job", "#{job}").replace("src/job #{job}", "src/job #{jbo}")
    (test,), _ = read_tests(SourceFile("T1053.003.yaml", text))
    assert test.filled("/a").command == "cp /a/T1053.003/src/job #{jbo}"


def test_a_wrong_test_names_its_place_and_leaves_the_others() -> None:
    """An unknown executor is one test's error; broken YAML is the file's."""
    wrong = FILE + "- name: Odd\n  supported_platforms: [linux]\n  executor: {name: bsh, command: x}\n"
    tests, problems = read_tests(SourceFile("T1053.003.yaml", wrong))
    assert [(test.name, bool(test.problem)) for test in tests] == [("Write a job", False), ("Odd", True)]
    assert [(each.message, each.hint, each.location.line) for each in problems] == [
        ("unknown executor 'bsh'", "did you mean 'bash'?", 24)
    ]
    tests, problems = read_tests(SourceFile("T1053.003.yaml", "attack_technique: [T1"))
    assert tests == []
    assert problems[0].location.line == 1
    tests, problems = read_tests(SourceFile("T1053.003.yaml", FILE.replace("T1053.003", "1053")))
    assert [each.message for each in problems] == ["'1053' is not the id of a technique"]


def test_a_folder_is_read_whole_whatever_one_file_holds(tmp_path: Path) -> None:
    """A file that isn't UTF-8 is an error with its name."""
    for name, data in (("T1", FILE.encode()), ("T2", b"\xff\xfe"), ("other", FILE.encode())):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.yaml").write_bytes(data)
    tests, problems = read_folder(tmp_path)
    assert len(tests) == 1
    assert [(Path(each.location.file).name, each.message) for each in problems] == [
        ("T2.yaml", "can't be read: it isn't UTF-8")
    ]


def test_a_test_that_is_wrong_has_a_place_among_the_results() -> None:
    """Its problem is its reason for not being run; those of other systems aren't reported."""
    text = """
attack_technique: T1059.004
atomic_tests:
- 7
- {name: Of Windows, supported_platforms: [windows], executor: {name: rexx}}
- {name: A shell, supported_platforms: [linux], executor: {name: rexx, command: x}}
- {name: Its needs, supported_platforms: [linux], executor: {name: sh, command: x}, dependencies: {a: b}}
"""
    tests, problems = read_tests(SourceFile("T1059.004.yaml", text))
    assert [(test.number, test.name, test.problem) for test in tests] == [
        (1, "test 1", "a test is a mapping, as in '{name: value}'"),
        (3, "A shell", "unknown executor 'rexx'"),
        (4, "Its needs", "'dependencies' takes a list"),
    ]
    assert len(problems) == 3


def test_arguments_that_multiply_are_refused() -> None:
    """A thousand times a thousand times a thousand characters aren't made."""
    a, b, c = "#{b}" * 1000, "#{c}" * 1000, "x" * 1000
    text = f"""
attack_technique: T1059.004
atomic_tests:
- name: It grows
  supported_platforms: [linux]
  input_arguments: {{a: {{default: "{a}"}}, b: {{default: "{b}"}}, c: {{default: "{c}"}}}}
  executor: {{name: sh, command: "#{{a}}"}}
"""
    (test,), _ = read_tests(SourceFile("T1059.004.yaml", text))
    with pytest.raises(ValueError, match="too long"):
        test.filled("/opt/atomics")
