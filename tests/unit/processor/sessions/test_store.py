from processor.sessions.joins import FairStore


def test_the_owner_with_the_most_gives_up_its_oldest() -> None:
    """A flood of one takes nothing from another."""
    store: FairStore[str, int, str] = FairStore(3)
    store.put("quiet", "pod", 0, "first")
    gone = [entry for number in range(1, 6) for entry in store.put("loud", "pod", number, f"entry {number}")]

    assert gone == ["entry 1", "entry 2", "entry 3"]
    assert store.within("pod") == ["first", "entry 4", "entry 5"]
    assert len(store) == 3


def test_an_entry_replaces_the_one_of_its_name() -> None:
    """Also if it has another owner; what is removed twice is removed once."""
    store: FairStore[str, int, str] = FairStore(2)
    store.put("a", "pod", 1, "old")
    store.put("b", "pod", 1, "new")
    store.put("b", "other", 2, "more")
    assert (store.get("pod", 1), store.get("pod", 2), len(store)) == ("new", None, 2)
    assert list(store.entries()) == ["new", "more"]

    store.remove("pod", 1)
    store.remove("pod", 1)
    assert (store.within("pod"), len(store)) == ([], 1)
