from processor.correlation.suppress import MAX_SOURCES, take_match
from schemas.alert import Alert
from tests.unit.processor.correlation.rules import MINUTE, START


def test_the_sources_of_repeats_are_bounded() -> None:
    """A fleet that matches in one group does not make its state grow without end."""
    alert = Alert("id", START, "r", "Notice", "o", {})
    state = None
    for source in range(MAX_SOURCES + 10):
        state = take_match(state, (START, 1, source), lambda: alert, MINUTE).state

    assert state is not None
    assert len(state.sources) == MAX_SOURCES
