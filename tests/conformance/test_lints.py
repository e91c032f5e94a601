"""Lints find what is wrong in Falco's own rule files, and nothing else."""

import pytest

from lanner.ruleset.lint.lint import linted
from processor.loading import load_rules, read_rule_files
from tests.reference import needs, shared_dir

FILES = shared_dir() / "conformance" / "rules_files"
IN_BOTH = [
    ("LINT_GLOB", "in_heartbeat_r*"),
    ("LINT_LONG_NAME", "bash /var/lib/waagent/"),
    ("LINT_LONG_NAME", "probe_rpmverifyfile"),
    ("LINT_LONG_NAME", "probe_rpmverifypackage"),
    ("LINT_NAME_AS_PATH", "GuestAgent.log"),
]


@needs(FILES)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("falcosecurity_rules/falco_rules.yaml", []),
        ("falcosecurity_rules/falco-incubating_rules.yaml", []),
        ("falcosecurity_rules/falco-sandbox_rules.yaml", sorted([*IN_BOTH, ("LINT_LONG_NAME", "30store-metadata")])),
        ("LegacyFalcoRules_v1_0_1.yaml", sorted([*IN_BOTH, *[("LINT_EVENT_TYPE_NOT_COLLECTED", "container:")] * 4])),
    ],
)
def test_findings_in_falcos_files_are_real(name: str, expected: list[tuple[str, str]]) -> None:
    """Each was looked at: names that Linux shortens, a pattern after `in`, a name without folders."""
    files = read_rule_files([FILES / name])
    result = linted(load_rules(files), files)
    found = (*result.errors, *result.warnings, *result.infos)
    lints = [problem for problem in found if problem.code.name.startswith("LINT_")]
    assert sorted(problem.code.name for problem in lints) == [code for code, _ in expected]
    assert all(any(text in problem.message for problem in lints) for _, text in expected)
