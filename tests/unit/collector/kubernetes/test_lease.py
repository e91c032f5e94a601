import pytest

from collector.kubernetes.lease import LeaseView

MINE = {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "1", "leaseTransitions": 3}
THEIRS = MINE | {"holderIdentity": "other"}


def test_another_holder_is_waited_for_until_its_lease_stays_unchanged() -> None:
    """By this process's own clock: the holder's may be wrong by years."""
    view = LeaseView("me")
    assert view.see(THEIRS, 100) == "wait"
    assert view.see(THEIRS, 114) == "wait"
    assert view.see(THEIRS | {"renewTime": "2"}, 114.5) == "wait"
    assert view.see(THEIRS | {"renewTime": "2"}, 129) == "wait"
    assert view.see(THEIRS | {"renewTime": "2"}, 129.5) == "take"


@pytest.mark.parametrize("spec", [{}, THEIRS | {"holderIdentity": ""}, THEIRS | {"holderIdentity": None}])
def test_a_lease_without_holder_is_taken_at_once(spec: dict[str, object]) -> None:
    """The former holder gave it up."""
    assert LeaseView("me").see(spec, 100) == "take"


def test_a_duration_of_years_is_a_minute() -> None:
    """Anyone with the right to edit the lease could stop all processes with it."""
    view = LeaseView("me")
    view.see(THEIRS | {"leaseDurationSeconds": 10**9}, 100)
    assert view.see(THEIRS | {"leaseDurationSeconds": 10**9}, 160) == "take"


def test_the_own_lease_is_renewed() -> None:
    """Renewing counts no transition; taking does."""
    view = LeaseView("me")
    assert view.see(MINE, 100) == "renew"
    renewed = view.next_spec(MINE, 1_795_530_690.5, is_taking=False)
    assert (renewed["leaseTransitions"], renewed["renewTime"]) == (3, "2026-11-24T14:31:30.500000Z")
    taken = view.next_spec(THEIRS, 1_795_530_690.5, is_taking=True)
    assert (taken["holderIdentity"], taken["leaseTransitions"], taken["acquireTime"]) == (
        *("me", 4),
        "2026-11-24T14:31:30.500000Z",
    )


@pytest.mark.parametrize("duration", [None, 0, -5, "x"])
def test_a_strange_duration_is_the_default(duration: object) -> None:
    """Somebody edited the lease."""
    view = LeaseView("me")
    view.see(THEIRS | {"leaseDurationSeconds": duration}, 100)
    assert view.see(THEIRS | {"leaseDurationSeconds": duration}, 114) == "wait"
    assert view.see(THEIRS | {"leaseDurationSeconds": duration}, 115) == "take"
