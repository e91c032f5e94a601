from hypothesis import given
from hypothesis import strategies as st

from lanner.recorder.tree.activity import EXEC, Activity
from lanner.recorder.tree.family import MAX_STEPS, fold
from tests.unit.lanner.recorder.tree.incident import activity


def folded(*activities: Activity, marked: int = -1) -> list[str]:
    """Return the steps as texts; the event of the marked time has an alert."""
    steps = fold(activities, lambda each: each.time == marked)
    return [f"{step.verb} {step.target}{step.error} {step.count}/{step.targets}" for step in steps]


def test_repeats_become_a_number() -> None:
    """Also if other events are between them; failures are apart."""
    events = [
        activity(1, target="/a"),
        activity(2, target="/b"),
        activity(3, target="/a"),
        activity(4, target="/a", error="EACCES"),
    ]
    assert folded(*events) == ["open /a 2/1", "open /b 1/1", "open /aEACCES 1/1"]


def test_many_files_of_a_folder_become_the_folder() -> None:
    """One file elsewhere keeps its name."""
    copied = [activity(number, target=f"/etc/f{number % 165}") for number in range(170)]
    assert folded(*copied, activity(200, target="/tmp/x")) == ["open /etc/… 170/165", "open /tmp/x 1/1"]


def test_a_folder_that_was_opened_itself_is_not_taken_for_its_files() -> None:
    """It has a name of its own."""
    files = [activity(number, target=f"/a/b/{number}") for number in range(9)]
    assert folded(activity(0, target="/a/b"), *files) == ["open /a/b 1/1", "open /a/b/… 9/9"]


def test_many_folders_become_outer_ones() -> None:
    """As far out as necessary."""
    files = [activity(number, target=f"/usr/lib/p{number}/a{number % 2}") for number in range(40)]
    assert folded(*files) == ["open /usr/lib/… 40/40"]


def test_many_addresses_become_the_first_and_others() -> None:
    """They have no folders."""
    scan = [activity(number, verb="connect", target=f"10.0.0.{number}:22") for number in range(99)]
    assert folded(*scan) == ["connect 10.0.0.0:22, … 99/99"]


def test_few_files_keep_their_names() -> None:
    """A short list is more precise than a folder."""
    assert len(folded(*[activity(number, target=f"/etc/{number}") for number in range(MAX_STEPS)])) == MAX_STEPS


def test_starts_and_alerts_are_never_folded() -> None:
    """They stand where they happened."""
    events = [
        activity(1, verb=EXEC, target="a"),
        activity(2, target="/x"),
        activity(3, target="/x"),
        activity(4, target="/x"),
        activity(5, verb=EXEC, target="a"),
    ]
    assert folded(*events, marked=3) == ["exec a 1/1", "open /x 2/1", "open /x 1/1", "exec a 1/1"]


paths = st.lists(st.sampled_from(["", "a", "b", "…", "c d"]), max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(
    st.lists(st.tuples(paths | st.sampled_from(["x", "1.2.3.4:5", ""]), st.sampled_from(["", "EPERM"])), max_size=200)
)
def test_nothing_is_lost_and_the_result_is_short(events: list[tuple[str, str]]) -> None:
    """Whatever was opened: all events are counted, in at most so many steps for each verb and error."""
    steps = fold([activity(at, target=path, error=error) for at, (path, error) in enumerate(events)], lambda _: False)
    assert sum(step.count for step in steps) == len(events)
    assert sum(step.targets for step in steps) == len(set(events))
    assert len(steps) <= 2 * MAX_STEPS
    assert [step.first for step in steps] == sorted(step.first for step in steps)
