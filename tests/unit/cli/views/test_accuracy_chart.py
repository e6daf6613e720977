"""The curve: everything lies where the axis says, at every width."""

import pytest

from ser_core.cli.views.accuracy_chart import Measured, accuracy_chart

ROWS = [Measured("seed", 0.7, 0.6, 0.8), Measured("1", 0.8, 0.72, 0.86, best=True), Measured("length", 0.5, None, None, baseline=True)]


def lines(rows, width):
    return [line.plain for line in accuracy_chart(rows, width)]


def test_a_point_stands_above_its_value_on_the_axis():
    *rows, axis, labels = lines([*ROWS, Measured("full", 0.9, 0.9, 0.9)], 84)
    for row, value in ((rows[0], "0.70"), (rows[1], "0.80")):
        point = row.index("●")
        assert axis[point] == "┬"
        assert labels[point - 2 : point + 2] == value


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits(width):
    assert max(map(len, lines(ROWS, width))) <= width


def test_the_ends_of_an_interval_frame_the_point():
    row = lines(ROWS, 80)[0]
    assert row.index("├") < row.index("●") < row.index("┤")


def test_the_best_is_marked_without_colour():
    assert [line.split()[:2] for line in lines(ROWS, 80)[:2]] == [["seed", lines(ROWS, 80)[0].split()[1]], ["1", "*"]]


@pytest.mark.parametrize(
    "rows", [[Measured("seed", 0.5, 0.5, 0.5)], [Measured("seed", 0.999, 0.99, 1.0)], [Measured("seed", 0.0, 0.0, 1.0)]]
)
def test_extreme_accuracies_have_an_axis(rows):
    assert "┬" in lines(rows, 80)[-2]


@pytest.mark.parametrize("numbers", [(1e308, 0.5, 0.6), (0.5, 0.9, 0.1), (-3.0, -1e308, 1e308), (0.2, 0.6, 0.7), (5e-324, 0.0, 0.0)])
def test_what_cannot_be_accuracies_is_drawn_all_the_same(numbers):
    drawn = lines([*ROWS, Measured("odd", *numbers)], 80)
    assert drawn[3].startswith("odd")
    assert max(map(len, drawn[:3])) <= 80


def test_nothing_measured_is_no_chart():
    assert lines([], 80) == []
