from foundation.yaml.nodes import SourceFile, SourceLocation


def test_a_span_over_lines_is_located_on_its_first() -> None:
    """Its end is on another one. Columns count characters from 1; a carriage return is not part of the line."""
    file = SourceFile("a", "one\r\ntwo three\r\nfour")
    assert file.locate(9, 99) == SourceLocation("a", 2, 5, 5, "two three", 0, last_line=3, last_column=5)


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    """Editors on Windows write it."""
    assert SourceFile("a", "\ufeffx").text == "x"


def test_a_very_long_line_is_cut_around_the_column() -> None:
    """A line of megabytes would hide the message."""
    location = SourceFile("a", "x" * 10_000 + "y" + "x" * 10_000).locate(10_000, 10_001)
    assert (location.column, len(location.text), location.text_start) == (10_001, 500, 9_750)
    assert location.text[location.column - 1 - location.text_start] == "y"


def test_a_source_without_lines_is_named_as_a_whole() -> None:
    """Nobody counts the columns of a flag."""
    location = SourceFile("-o a=b", "b", has_lines=False).locate(0, 1)
    assert str(location) == "-o a=b"
