from pathlib import Path

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
    assert [test.name for test in tests] == ["Write a job"]
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
