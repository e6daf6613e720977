from collections import Counter

import numpy as np
import torch

from ser_core.learn.policy.batches import minibatches, prompts_of_step, sequences


def test_every_pass_takes_every_prompt_once_in_its_own_order():
    stream = np.concatenate([prompts_of_step(step, 5, 4, seed=1) for step in range(5)])
    passes = stream.reshape(4, 5)
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes.tolist())
    assert len({tuple(one) for one in passes.tolist()}) > 1


def test_a_step_may_take_more_answers_than_there_are_prompts():
    assert Counter(prompts_of_step(3, 2, 6, seed=0).tolist()) == {0: 3, 1: 3}


def test_a_pass_over_the_minibatches_takes_every_row_once():
    parts = minibatches(10, 4, seed=0, step=3, epoch=1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(10))
    assert sorted(map(len, parts)) == [2, 2, 3, 3]
    assert not np.array_equal(np.concatenate(parts), np.concatenate(minibatches(10, 4, seed=0, step=3, epoch=2)))


def test_answers_stand_right_behind_their_prompts():
    batch = sequences([[1, 2, 3], [4], [8, 9]], [[5], [6, 7], []], "cpu")
    assert batch.tokens.tolist() == [[1, 2, 3, 5], [4, 6, 7, 0], [8, 9, 0, 0]]
    assert batch.answer_mask.tolist() == [[True, False], [True, True], [False, False]]
    assert [before.tolist() for before in batch.before] == [[0, 1, 1], [2, 0, 1]]
    assert batch.spread(torch.tensor([0.1, 0.2, 0.3])).tolist() == torch.tensor([[0.1, 0], [0.2, 0.3], [0, 0]]).tolist()
    only = batch.rows(torch.tensor([1]))
    assert (only.tokens.tolist(), only.answer_width) == ([[4, 6, 7]], 2)
    assert batch.rows(torch.tensor([2])).answer_mask.tolist() == [[False]]
