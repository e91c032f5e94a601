from foundation.caches import BoundedMap, BoundedSet


def test_map_drops_its_oldest_entry() -> None:
    """A mapping beyond its limit drops the entry that was put first."""
    known: BoundedMap[str, int] = BoundedMap(2)
    for number, key in enumerate("abc"):
        known.put(key, number)
    assert "a" not in known
    assert (known.get("b"), known.get("c"), len(known)) == (1, 2, 2)


def test_map_counts_age_from_the_newest_put() -> None:
    """Putting a key again makes it the newest entry; reading it does not."""
    known: BoundedMap[str, int] = BoundedMap(2)
    for key in ("a", "b", "a"):
        known.put(key, 0)
    assert known.get("b") == 0
    known.put("c", 0)
    assert ("a" in known, "b" in known, "c" in known) == (True, False, True)


def test_map_returns_none_for_unknown_key() -> None:
    """A key that was never put has no value."""
    assert BoundedMap[str, int](1).get("a") is None


def test_set_reports_new_keys_once() -> None:
    """Adding a key reports whether it was new."""
    known: BoundedSet[str] = BoundedSet(2)
    assert [known.add(key) for key in ("a", "a", "b", "a")] == [True, False, True, False]


def test_set_drops_its_oldest_key() -> None:
    """A set beyond its limit drops the key that was added first, however often it was added since."""
    known: BoundedSet[str] = BoundedSet(2)
    for key in ("a", "b", "a", "c"):
        known.add(key)
    assert len(known) == 2
    assert known.add("a")
