from processor.language.event_types import ALL_EVENT_TYPES, event_types, is_broad
from processor.language.parser import parse
from tests.conformance.cases import Case, each_case


@each_case("evttypes")
def test_event_types_of_a_condition(case: Case) -> None:
    """The event types that a condition can match equal Falco's."""
    types = event_types(parse(case["filter"]))

    if "events" in case:
        assert types == set(case["events"])
    if "same_evt_types_as" in case:
        assert types == event_types(parse(case["same_evt_types_as"]))
    kind = case.get("matches_evt_types", "")
    if kind == "all_events":
        assert types == ALL_EVENT_TYPES
    if kind.startswith("not_"):
        assert types == ALL_EVENT_TYPES - set(kind.removeprefix("not_").split("_"))
    if case.get("no_evttype_warning") is not None:
        assert is_broad(types) is case["no_evttype_warning"]
