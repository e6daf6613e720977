"""Axes and marks."""

import re
from itertools import pairwise

import pytest

from ser_core.report.charts import HEIGHT, Axis, Frame, count_axis, percent, round_axis
from ser_core.report.figures import every


@pytest.mark.parametrize("values", [(0.71, 0.88), (0.0, 0.0), (0.5,), (3, 123_456), (-2.5, 7.1), (0.9001, 0.9002)])
def test_a_round_axis_covers_its_values_with_few_ticks(values):
    axis = round_axis("x", values)
    assert axis.low <= min(values)
    assert max(values) <= axis.high
    assert 2 <= len(axis.ticks) <= 8
    assert (axis.ticks[0], axis.ticks[-1]) == pytest.approx((axis.low, axis.high))


@pytest.mark.parametrize(("highest", "ticks"), [(0, [0, 1]), (2, [0, 1, 2]), (12, [0, 5, 10, 15]), (24, [0, 5, 10, 15, 20, 25])])
def test_counts_have_whole_ticks(highest, ticks):
    assert count_axis("steps", highest).ticks == ticks


def test_values_lie_between_the_ends_of_the_axes():
    frame = Frame(Axis("x", 0, 10, []), Axis("y", 0.5, 1, []))
    (left, bottom), (right, top) = frame.at(0, 0.5), frame.at(10, 1)
    assert frame.at(5, 0.75) == ((left + right) / 2, (bottom + top) / 2)
    assert top < bottom


def test_labels_of_close_lines_do_not_overlap():
    frame = Frame(Axis("x", 0, 1, []), Axis("y", 0, 1, []), right=90)
    drawn = frame.levels([(0.5, "one", "c1"), (0.51, "two", "c2"), (0.505, "three", "c3")])
    heights = sorted(float(y) for y in re.findall(r'<text[^>]* y="([\d.]+)"', drawn))
    assert all(upper - lower >= 14 for lower, upper in pairwise(heights))
    assert heights[-1] < HEIGHT


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_labels_of_equal_lines_stay_in_the_chart(value):
    drawn = Frame(Axis("x", 0, 1, []), Axis("y", 0, 1, []), right=90).levels([(value, name, "c1") for name in ("one", "two", "three")])
    heights = sorted(float(y) for y in re.findall(r'<text[^>]* y="([\d.-]+)"', drawn))
    assert heights[0] >= 14 and heights[-1] < HEIGHT
    assert all(upper - lower >= 14 for lower, upper in pairwise(heights))


def test_text_is_escaped():
    frame = Frame(Axis("<b>", 0, 1, [0, 1]), Axis('"&', 0, 1, []))
    drawn = frame.draw('"><script>', [frame.dot((0, 0), "c0", "</title><script>")])
    assert "<script>" not in drawn
    assert "<b>" not in drawn


def test_percent_has_a_decimal_only_where_it_says_something():
    assert [percent(0.875), percent(0.9), percent(1 / 3)] == ["87.5 %", "90 %", "33.3 %"]


@pytest.mark.parametrize(("count", "chosen"), [(0, []), (3, [0, 1, 2]), (9, [0, 2, 4, 6, 8]), (33, [0, 8, 16, 24, 32])])
def test_of_many_items_some_are_drawn_with_first_and_last(count, chosen):
    assert every(range(count), 5) == chosen
