import random
from itertools import chain

import numpy as np
import pytest

from ser_core.learn.reward.batching import (
    Shape,
    bucket_length,
    deal,
    epoch_order,
    micro_batches,
    pad,
    pairs_of_step,
    scoring_batches,
    shares,
)
from ser_core.learn.reward.encoding import Row

LENGTHS = [random.Random(1).randint(1, 500) for _ in range(300)]


def test_a_bucket_has_room_for_the_row_and_a_padding_token_and_little_more():
    for tokens in range(1, 2000):
        assert tokens < bucket_length(tokens, 1 << 20) <= max(tokens + 16, 1.13 * (tokens + 1))


def test_a_bucket_never_passes_the_positions_of_the_model():
    assert bucket_length(499, 500) == 500


def test_every_row_is_scored_once_in_the_shape_of_its_length_alone():
    batches = scoring_batches(LENGTHS, 2048, 512)
    assert sorted(chain.from_iterable(rows for _, rows in batches)) == list(range(len(LENGTHS)))
    shapes = {shape.length: shape for shape, _ in batches}
    assert all(shape == shapes[bucket_length(LENGTHS[index], 512)] for shape, rows in batches for index in rows)
    assert all(len(rows) <= shape.rows and shape.rows * shape.length <= 2048 for shape, rows in batches)
    assert batches[0][0].length == max(shapes)


def test_a_row_beyond_the_token_budget_is_scored_alone():
    assert scoring_batches([100], 64, 512) == [(Shape(1, 112), [0])]


@pytest.mark.parametrize("rows", [1, 2])
def test_micro_batches_keep_the_budget_and_lose_no_pair(rows: int):
    batches = micro_batches(LENGTHS, 1024 * rows, rows)
    assert sorted(chain.from_iterable(batches)) == list(range(len(LENGTHS)))
    assert all(rows * max(LENGTHS[index] for index in batch) * len(batch) <= 1024 * rows for batch in batches)
    padded = sum(len(batch) * max(LENGTHS[index] for index in batch) for batch in batches)
    assert 1 - sum(LENGTHS) / padded < 0.05


def test_a_pair_beyond_the_token_budget_gets_a_micro_batch_of_its_own():
    assert micro_batches([10, 900, 10], 100) == [[1], [0, 2]]


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_processes_share_a_step_evenly_and_take_the_same_number_of_micro_batches(processes: int):
    found = shares(LENGTHS, 2048, processes)
    own = [[*chain.from_iterable(batches)] for batches in found]
    assert sorted(chain.from_iterable(own)) == list(range(len(LENGTHS)))
    assert len({len(batches) for batches in found}) == 1
    tokens = [sum(LENGTHS[index] for index in members) for members in own]
    assert max(tokens) < 1.03 * min(tokens)
    assert all(2 * max(LENGTHS[i] for i in batch) * len(batch) <= 2048 for batch in chain.from_iterable(found) if batch)


def test_a_process_for_which_no_pair_is_left_gets_an_empty_micro_batch():
    assert shares([7, 9], 100, 4) == [[[1]], [[0]], [[]], [[]]]


def test_one_process_takes_the_micro_batches_of_the_step():
    assert shares(LENGTHS, 2048, 1) == [micro_batches(LENGTHS, 2048)]


def test_each_pass_takes_every_pair_once_in_an_order_of_its_own():
    first, second = ([*chain.from_iterable(pairs_of_step(step, 10, 4, seed=1) for step in steps)] for steps in (range(3), range(3, 6)))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert np.array_equal(epoch_order(10, 1, 0), first)
    assert not np.array_equal(epoch_order(10, 2, 0), first)


def test_padding_is_masked_and_the_answer_is_the_second_segment():
    rows = [Row(np.array([5, 6, 7], dtype=np.int32), 2, 1, False), Row(np.array([8], dtype=np.int32), 1, 0, False)]
    batch = pad(rows, pad_token=9, shape=Shape(3, 4))
    assert batch.input_ids.tolist() == [[5, 6, 7, 9], [8, 9, 9, 9], [9, 9, 9, 9]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert batch.token_type_ids.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_what_is_dealt_to_processes_is_alike_in_size_and_leaves_nothing_out():
    dealt = deal(LENGTHS, 8)
    assert sorted(chain.from_iterable(dealt)) == list(range(len(LENGTHS)))
    totals = [sum(LENGTHS[index] for index in own) for own in dealt]
    assert max(totals) - min(totals) <= max(LENGTHS)
