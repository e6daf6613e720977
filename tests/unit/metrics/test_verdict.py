"""What counts as a fault of a drawn board."""

from pathlib import Path

import pytest

from boards.draw import Drawing, Panel
from boards.verdict import faults


def drawing(kind="timeseries", series=1, text=("Share", "kept"), axis=("0%", "100%"), problems=(), page=()):
    return Drawing(Path(), [Panel("Share", kind, {"A": series}, text, axis, {}, problems)], page)


def test_a_panel_with_data_is_without_fault():
    assert not faults(drawing())
    assert not faults(drawing("trend", axis=("50%", "100%", "loop", "0", "", "1")))
    assert not faults(drawing("stat", text=("Share", "3"), axis=()))


@pytest.mark.parametrize(
    ("faulty", "said"),
    [
        (drawing(series=0), "Share: queries A brought nothing"),
        (drawing(problems=["TypeError"]), "Share: TypeError"),
        (drawing(page=["404"]), "the page says: 404"),
        (drawing(text=("Share",), axis=()), "Share: shows nothing but its title"),
        (drawing(axis=("0%", "10000%")), "Share: its axis goes to 10000 %"),
        (drawing("trend", axis=("100%", "0", "0.5", "1")), "Share: loops are no whole numbers: ['0.5']"),
        (drawing("trend", axis=("0%", "100%")), "Share: no loop is named at its axis"),
    ],
)
def test_a_fault_is_said_in_a_sentence(faulty, said):
    assert faults(faulty) == [said]


def test_a_panel_may_be_empty_only_where_that_is_expected():
    assert not faults(drawing(series=0), empty={"Share"})
    assert faults(drawing(), empty={"Share"}) == ["Share: has data where none can be"]
