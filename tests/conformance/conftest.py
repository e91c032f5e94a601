import pytest


@pytest.fixture(autouse=True)
def cases_are_there(request: pytest.FixtureRequest) -> None:
    """Fail if the cases are required but missing."""
    callspec = getattr(request.node, "callspec", None)
    case = callspec.params.get("case") if callspec else None
    if isinstance(case, dict) and "absent" in case:
        pytest.fail(case["absent"])
