from lanner.console.server.rendering import HEIGHT, WIDTH, histogram_chart, sparkline
from lanner.console.store.rows import Bar, TimeHistogram


def test_columns_are_stacked_from_the_most_severe_up() -> None:
    """The highest column fills the height, and each alert can be seen."""
    bars = [Bar(0, {2: 90, 4: 10}), Bar(10, {}), Bar(20, {7: 1})]
    chart = histogram_chart(TimeHistogram(0, 30, bars))
    assert (chart.total, chart.most) == (101, 100)
    assert [(column.start, column.end, column.count) for column in chart.columns] == [
        (0, 10, 100),
        (10, 20, 0),
        (20, 30, 1),
    ]
    error, warning = chart.columns[0].boxes
    assert (error.level, error.y + error.height, error.height) == ("error", HEIGHT, 72)
    assert (warning.level, warning.y) == ("warning", 0)
    assert chart.columns[2].boxes[0].height == 1
    assert chart.columns[2].x + chart.columns[2].width > WIDTH - 1
    assert histogram_chart(TimeHistogram(0, 0, [])).columns == []


def test_a_sparkline_is_a_path_and_nothing_without_alerts() -> None:
    """It begins and ends at the bottom."""
    assert sparkline([0, 0]) == sparkline([]) == ""
    assert sparkline([0, 4]) == "M0 20 L0.0 20.0 L96.0 2.0 L96 20 Z"
