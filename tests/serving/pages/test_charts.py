"""Charts: every point is in the plot, whatever the numbers are."""

import math

from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving.pages.charts import (
    MAX_POINTS,
    Measured,
    line_chart,
    reliability_chart,
    told,
)

numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=30))
@example([(0.0, 1e308)])
def test_lines_stay_in_the_plot(points):
    chart = line_chart("loss", {"a": points})
    finite = [point for point in points if all(map(math.isfinite, point))]
    assert bool(chart.lines) == bool(finite)
    for line in chart.lines:
        for pair in line.points.split():
            x, y = map(float, pair.split(","))
            assert chart.left - 0.1 <= x <= chart.right + 0.1
            assert chart.top - 0.1 <= y <= chart.bottom + 0.1


def test_a_long_line_is_thinned_and_keeps_its_end():
    points = [(float(step), float(step % 7)) for step in range(10_001)]
    (line,) = line_chart("loss", {"a": points}).lines
    assert len(line.points.split()) <= MAX_POINTS + 1
    assert line.last == told(10_000 % 7)
    assert line.points.split()[-1].startswith("350.0,")


def test_what_was_promised_and_kept_is_on_the_diagonal():
    chart = reliability_chart("", [Measured("all", 0.5, 0.5, 0.4, 0.6)])
    (bar,) = chart.bars
    assert chart.diagonal is not None
    x0, y0, x1, y1 = chart.diagonal
    assert bar.x == (x0 + x1) / 2
    assert bar.middle == (y0 + y1) / 2
    assert bar.high < bar.middle < bar.low


def test_numbers_are_short():
    assert [told(each) for each in (0, 0.5, 1234.5, 12345678, 0.00001234, 3.14159)] == [
        "0",
        "0.5",
        "1,234",
        "1.2e+07",
        "1.2e-05",
        "3.14",
    ]
