import pytest

from processor.pushdown.derive import variables_in
from schemas.filter import EVERY_VARIABLE


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("proc.name = cat", set()),
        ("proc.env[LD_PRELOAD] exists and proc.aenv[SSH_CLIENT] != x", {"LD_PRELOAD", "SSH_CLIENT"}),
        ("%proc.env[HOME] of %proc.name", {"HOME"}),
        ('toupper(proc.env["A B"]) = X', {"A B"}),
        ("proc.env contains LD_PRELOAD", {EVERY_VARIABLE}),
        ("%proc.aenv[2]", {EVERY_VARIABLE}),
        ("evt.arg.env contains x", {EVERY_VARIABLE}),
        ("evt.rawarg.env contains x", {EVERY_VARIABLE}),
        ("evt.arg[15] contains x", {EVERY_VARIABLE}),
        ("evt.arg.envelope = x and evt.arg[1] = y", set()),
    ],
)
def test_rules_name_variables_in_these_ways(text: str, names: set[str]) -> None:
    """A number behind an ancestor's environment is a level, and requires the whole of it."""
    assert variables_in([text]) == names
