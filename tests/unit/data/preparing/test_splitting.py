import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.data.preparing.splitting import assign, coin, connected_groups
from ser_core.errors import DataError

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=60)


def split(pairs, seed=0, order=None):
    """Sides by pair id, for pairs of (prompt, column)."""
    positions = order or list(range(len(pairs)))
    ids = [f"{position:04d}" for position in positions]
    values = [(b"p%d" % pairs[position][0], b"c%d" % pairs[position][1]) for position in positions]
    sides = assign(connected_groups(ids, values), {"heldout": 0.2, "seed": 0.3}, "pool", seed)
    return {ids[member]: side for side, groups in sides.items() for group in groups for member in group.members}


@settings(max_examples=60, deadline=None)
@given(PAIRS, st.integers(0, 3), st.randoms(use_true_random=False))
def test_no_value_falls_on_two_sides_and_the_order_of_rows_does_not_matter(pairs, seed, shuffler: random.Random):
    sides = split(pairs, seed)
    assert len(sides) == len(pairs)
    for column in (0, 1):
        for value in {pair[column] for pair in pairs}:
            assert len({sides[f"{position:04d}"] for position, pair in enumerate(pairs) if pair[column] == value}) == 1
    order = list(range(len(pairs)))
    shuffler.shuffle(order)
    assert split(pairs, seed, order) == sides


def test_shares_are_met_as_nearly_as_groups_allow():
    sides = list(split([(n, n) for n in range(1000)]).values())
    assert {side: sides.count(side) for side in set(sides)} == {"heldout": 200, "seed": 300, "pool": 500}


def test_a_group_too_large_for_a_side_goes_elsewhere():
    pairs = [(0, 0)] * 700 + [(n, n) for n in range(1, 301)]
    sides = split(pairs)
    assert sides["0000"] == "pool"
    assert list(sides.values()).count("heldout") == 200


def test_every_side_gets_a_group_while_there_are_any():
    assert set(split([(0, 0), (1, 1), (2, 2)]).values()) == {"heldout", "seed", "pool"}


def test_another_seed_splits_otherwise():
    pairs = [(n, n) for n in range(100)]
    assert split(pairs, 0) != split(pairs, 1)


def test_the_coin_is_fair_and_depends_on_the_seed():
    tosses = [coin(0, str(n)) for n in range(2000)]
    assert 900 < sum(tosses) < 1100
    assert tosses != [coin(1, str(n)) for n in range(2000)]


@pytest.mark.parametrize("by", ["prompt", "firstTurn", "topic"])
def test_a_source_is_split_without_leaks(prepare, by):
    rows = [
        {
            "prompt": f"Human: topic {n % 60}\n\nAssistant: yes\n\nHuman: {n}",
            "topic": n % 60,
            "chosen": f"right {n}",
            "rejected": f"wrong {n}",
        }
        for n in range(300)
    ]
    prepared = prepare(rows, split_by=by)
    shuffled = prepare(rows[::-1], "other.jsonl", split_by=by)
    assert sides_by_value(prepared, by) == sides_by_value(shuffled, by)


def sides_by_value(prepared, by):
    from ser_core.data.preparing.pairs.spool import read_spool
    from ser_core.data.reading.dialogues.turns import first_user_turn

    sides = {}
    for side, positions in prepared.sides.items():
        for pair in read_spool(prepared.spool, positions):
            value = pair.prompt if by == "prompt" else first_user_turn(pair.prompt)
            assert sides.setdefault(value, side) == side
    return sides


def test_a_missing_column_is_refused_with_the_columns_there_are(refusal, good):
    error = refusal(good(40), split_by="debate")
    assert (error.reason, "'prompt', 'chosen', 'rejected'" in error.message) == ("MissingColumn", True)


def test_each_of_three_files_needs_the_column(prepare_three, good):
    rows = [{**row, "debate": number} for number, row in enumerate(good(60))]
    with pytest.raises(DataError, match=r"^data\.splitBy is 'debate', but file:.*unlabeled\.jsonl has the columns 'prompt'"):
        prepare_three(rows[:20], good(60)[20:40], rows[40:], split_by="debate")
