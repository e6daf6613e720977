"""Ties are learnt and judge nothing; weights and margins go where the pairs go. Data without them give what they always gave."""

import pytest

from ser_core.api.spec.data import Columns
from ser_core.data.preparing.sides import write_sides
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.layouts.finding import find_layout, read_pairs
from ser_core.data.tables import HiddenLabel, LabeledPair, PairMargin, PairWeight, TiedPair, read_table
from ser_core.errors import DataError

KINDS = {
    **dict.fromkeys(("seed.parquet", "dev.parquet", "heldout.parquet"), LabeledPair),
    "ties.parquet": TiedPair,
    "pool_labels.parquet": HiddenLabel,
    **dict.fromkeys(("weights.parquet", "pool_weights.parquet"), PairWeight),
    **dict.fromkeys(("margins.parquet", "pool_margins.parquet"), PairMargin),
}


@pytest.fixture
def tables(tmp_path):
    def written(prepared):
        files = write_sides(prepared, 0, tmp_path)
        return {name: read_table(files[name], kind) for name, kind in KINDS.items() if name in files}

    return written


def labelled(rows, tied=0):
    """The same pairs with the better answer now first, now second; the first ``tied`` are ties."""
    found = []
    for number, row in enumerate(rows):
        answers = [row["chosen"], row["rejected"]][:: 1 if number % 2 else -1]
        better = "tie" if number < tied else 1 if number % 2 else 2
        found.append({"prompt": row["prompt"], "answer_1": answers[0], "answer_2": answers[1], "better": better})
    return found


def test_ties_have_a_table_of_their_own_and_stand_in_no_other(prepare, tables, good):
    prepared = prepare(labelled(good(200), tied=60))
    found = tables(prepared)
    ties = {one.id for one in found["ties.parquet"]}
    assert len(ties) == len(prepared.ties["seed"]) + len(prepared.ties["dev"]) > 0
    assert {one.side for one in found["ties.parquet"]} == {"seed", "dev"}
    for name in ("seed", "dev", "heldout"):
        rows = found[f"{name}.parquet"]
        assert len(rows) == getattr(prepared.metrics, name)
        assert not ties & {one.id for one in rows}
        assert all(one.chosen.startswith("right") for one in rows)
    assert len(found["pool_labels.parquet"]) < prepared.metrics.pool
    assert ties <= prepared.groups.keys()


def test_where_all_pairs_are_ties_the_hint_says_so(refusal, prepare_three, good):
    rows = labelled(good(40), tied=40)
    of_one = refusal(rows)
    with pytest.raises(DataError) as of_three:
        prepare_three(labelled(good(80)[40:]), labelled(good(120)[80:]), rows)
    for error in (of_one, of_three.value):
        assert (error.reason, "40 ties" in error.message) == ("TooFewRows", True)
    assert of_one.hint.startswith("no answer of a tie is better")


def test_without_ties_weights_and_margins_there_is_no_table_of_them(prepare, tables, good):
    assert tables(prepare(labelled(good(200)))).keys() == {"seed.parquet", "dev.parquet", "heldout.parquet", "pool_labels.parquet"}


def test_a_tie_gives_way_to_a_label_of_the_same_pair_and_is_no_contradiction(prepare, good):
    rows = labelled(good(200))
    prepared = prepare([*({**row, "better": "tie"} for row in rows[:20]), *rows])
    assert prepared.metrics.dropped == {"Duplicate": 20}
    assert not any(prepared.ties.values())


def test_a_part_of_ties_alone_judges_nothing_and_is_refused(prepare_three, good):
    rows = good(120)
    with pytest.raises(DataError, match="heldout would have 0 of"):
        prepare_three(rows[:40], rows[40:90], labelled(rows[90:], tied=30))


COLUMNS = {"prompt": "prompt", "response_1": "answer_1", "response_2": "answer_2"}


def pairs(row, **columns):
    given = Columns(**COLUMNS, **columns)
    return read_pairs(row, find_layout(row, "a.jsonl", given, labels_needed=True))


ROW = {"prompt": "q", "answer_1": "a", "answer_2": "b", "better": 1, "score_a": 3.5, "score_b": 1, "w": "0.25", "scores": 7}


@pytest.mark.parametrize(
    ("row", "columns", "weight"),
    [
        (ROW, {"better": "better"}, None),
        (ROW, {"better": "better", "weight": "w"}, 0.25),
        ({**ROW, "w": None}, {"better": "better", "weight": "w"}, None),
        ({**ROW, "scores": 7}, {"score_1": "score_a", "score_2": "score_b", "weight": "scores"}, 7),
        ({name: ROW[name] for name in ROW if name != "scores"}, {"score_1": "score_a", "score_2": "score_b", "weight": "scores"}, 2.5),
        (
            {name: ROW[name] for name in ROW if name != "scores"} | {"score_b": 3.5},
            {"score_1": "score_a", "score_2": "score_b", "weight": "scores"},
            None,
        ),
    ],
    ids=["none", "a column", "an empty cell", "a column called scores", "scores", "a tie of scores"],
)
def test_a_weight_is_what_columns_names(row, columns, weight):
    assert [pair.weight for pair in pairs(row, **columns)] == [weight]
    as_margin = {"margin" if key == "weight" else key: column for key, column in columns.items()}
    assert [pair.margin for pair in pairs(row, **as_margin)] == [weight]


def test_a_pair_may_have_both_a_weight_and_a_margin():
    (pair,) = pairs({**ROW, "m": 0}, better="better", weight="w", margin="m")
    assert (pair.weight, pair.margin) == (0.25, 0.0)


@pytest.mark.parametrize("bad", [-1, 101, "much", True, float("nan"), float("inf")])
def test_a_margin_that_no_scores_reach_is_refused(bad):
    with pytest.raises(RowError, match="expected a number from 0 to 100") as caught:
        pairs({**ROW, "w": bad}, better="better", margin="w")
    assert caught.value.reason == "BadMargin"


def test_where_too_many_margins_are_below_zero_the_hint_says_what_to_write(refusal, good):
    rows = [{**row, "m": -1} for row in good(40)]
    error = refusal(rows, columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "margin": "m"})
    assert (error.reason, error.hint) == ("BadMargin", "write numbers from 0 to 100, or leave margin out of data.source.columns")


@pytest.mark.parametrize("bad", [0, -1, "much", True, float("nan"), float("inf"), 1e308, 1e-308])
def test_a_weight_that_cannot_stand_beside_others_is_refused(bad):
    with pytest.raises(RowError, match="expected a number from 1e-09 to") as caught:
        pairs({**ROW, "w": bad}, better="better", weight="w")
    assert caught.value.reason == "BadWeight"


@pytest.mark.parametrize("key", ["weight", "margin"])
def test_weights_and_margins_go_with_their_pairs_and_those_of_the_pool_stay_apart(prepare, tables, good, key):
    rows = [{**row, "w": 1 + number % 4} for number, row in enumerate(labelled(good(200), tied=40))]
    prepared = prepare(rows, columns={**COLUMNS, "better": "better", key: "w"})
    found = tables(prepared)
    known = {row["prompt"]: row["w"] for row in rows}
    learnt = [one for name in ("seed.parquet", "dev.parquet", "ties.parquet") for one in found[name]]
    assert {one.id: getattr(one, key) for one in found[f"{key}s.parquet"]} == {one.id: known[one.prompt] for one in learnt}
    assert len(found[f"pool_{key}s.parquet"]) == prepared.metrics.pool


@pytest.mark.parametrize("key", ["weight", "margin"])
def test_of_repeats_that_differ_in_it_alone_the_same_one_is_kept_in_every_order(prepare, tables, good, key):
    rows = [{**row, "w": strength} for row in good(60) for strength in (3, 1, 2)]
    columns = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", key: "w"}
    for order in (rows, rows[::-1]):
        found = tables(prepare(order, columns=columns))
        assert {getattr(one, key) for one in found[f"{key}s.parquet"]} == {1.0}
