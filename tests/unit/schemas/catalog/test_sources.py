import pytest

from schemas.catalog.fields import FIELDS, K8S_AUDIT, SYSCALL, has_field


@pytest.mark.parametrize(
    ("field", "sources"),
    [
        ("evt.time", {SYSCALL, K8S_AUDIT}),
        ("evt.type", {SYSCALL}),
        ("proc.name", {SYSCALL}),
        ("ka.verb", {K8S_AUDIT}),
        ("jevt.value", {K8S_AUDIT}),
    ],
)
def test_a_source_has_its_own_fields_and_those_of_all(field: str, sources: set[str]) -> None:
    """A rule sees only the fields of its source."""
    assert {source for source in (SYSCALL, K8S_AUDIT) if has_field(source, FIELDS[field])} == sources
