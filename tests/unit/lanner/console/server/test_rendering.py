from lanner.console.server.rendering import HEIGHT, WIDTH, histogram_chart, sparkline
from lanner.console.store.rows import Bar, TimeHistogram


def test_columns_are_stacked_from_the_most_severe_up() -> None:
    """The highest column fills the height, and each alert can be seen."""
    bars = [Bar(0, {2: 90, 4: 10}), Bar(10, {}), Bar(20, {7: 1})]
    chart = histogram_chart(TimeHistogram(0, 30, bars))
    assert (chart.total, chart.most, chart.top) == (101, 100, 100)
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


def test_a_chart_has_a_round_scale_its_numbers_and_times() -> None:
    """What is at its upper edge is a round number, so that the lines can be read."""
    bars = [Bar(0, {2: 70, 4: 10, 6: 1}), Bar(10, {}), Bar(20, {3: 1})]
    chart = histogram_chart(TimeHistogram(0, 30, bars))
    assert (chart.top, chart.most) == (100, 81)
    assert [column.text for column in chart.columns] == [
        "81 alerts: 70 Error and above, 10 Warning, 1 below",
        "0 alerts",
        "1 alert: 1 Error and above",
    ]
    assert [(level, count) for level, _, count in chart.levels] == [
        ("error", 71),
        ("warning", 10),
        ("notice", 0),
        ("info", 1),
    ]
    assert list(chart.ticks) == [0, 7, 15, 22, 30]
    tops = [histogram_chart(TimeHistogram(0, 1, [Bar(0, {4: count})])).top for count in (0, 1, 3, 7, 9, 11, 401, 999)]
    assert tops == [1, 1, 4, 8, 10, 12, 500, 1000]


def test_a_sparkline_is_a_path_and_nothing_without_alerts() -> None:
    """It begins and ends at the bottom."""
    assert sparkline([0, 0]) == sparkline([]) == ""
    assert sparkline([0, 4]) == "M0 20 L0.0 20.0 L96.0 2.0 L96 20 Z"
