from bus.clients.compacted import BEGUN, ChangelogTable


def test_what_had_got_farthest_counts_not_what_came_last() -> None:
    """A late record of a former owner is ignored, and the newer value is written again."""
    table = ChangelogTable()
    for value, applied in ((b"one", 10), (b"two", 20), (b"late", 15)):
        table.take(b"k", value, applied)
    assert table.values == {b"k": b"two"}
    assert table.overtaken == {b"k": b"two"}
    assert table.applied == 20


def test_a_deletion_is_not_undone_by_what_is_older() -> None:
    """An overtaken deletion is written again."""
    table = ChangelogTable()
    table.take(b"k", b"one", 10)
    table.take(b"k", None, 20)
    table.take(b"k", b"late", 10)
    assert table.values == {}
    assert table.overtaken == {b"k": None}


def test_once_written_again_it_is_whole() -> None:
    """If records have the same offset, the last one counts, and nothing needs repair."""
    table = ChangelogTable()
    for value, applied in ((b"two", 20), (b"late", 15), (b"two", 20)):
        table.take(b"k", value, applied)
    assert table.values == {b"k": b"two"}
    assert table.overtaken == {}


def test_records_without_a_place_give_way_to_those_that_have_one() -> None:
    """If records lack the header, the last one counts."""
    table = ChangelogTable()
    for value, applied in ((b"a", -1), (b"b", -1), (b"c", 0), (b"d", -1)):
        table.take(b"k", value, applied)
    assert table.values == {b"k": b"c"}


def test_the_mark_of_use_is_no_value() -> None:
    """The mark only means that the partition was used."""
    table = ChangelogTable()
    table.take(BEGUN, None, -1)
    assert table.values == {}
    assert table.applied == -1
