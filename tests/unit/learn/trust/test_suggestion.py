"""Which pairs a person should label next."""

import numpy as np
import pytest

from ser_core.learn.trust.suggestion import LOOKED_AT, most_useful, spread, usefulness


def test_doubt_and_contradiction_of_the_fold_models_add_up():
    confidence = np.array([0.5, 1.0, 0.75])
    apart = np.array([True, True, True])
    assert usefulness(confidence, None, apart) == pytest.approx([1.0, 0.0, 0.5])
    assert usefulness(confidence, np.array([0.0, 1.0, 0.5]), apart) == pytest.approx([2.0, 0.0, 1.0])


def test_a_label_of_answers_that_are_read_alike_teaches_nothing():
    confidence = np.array([0.5, 0.9])
    assert usefulness(confidence, np.array([0.0, 1.0]), np.array([False, True])) == pytest.approx([0.0, 0.2])


def test_the_most_useful_are_looked_at_first_and_of_equal_ones_the_first():
    assert list(most_useful(np.array([0.1, 0.9, 0.9, 0.5]), 1)) == [1, 2, 3, 0]
    assert len(most_useful(np.zeros(100), 2)) == 2 * LOOKED_AT


def test_a_pair_of_another_prompt_comes_before_a_more_useful_one_of_the_same():
    prompts = ["what is up", "What is  up", "who goes there", "what is there"]
    assert spread(np.array([1.0, 0.9, 0.4, 0.6]), prompts, 3) == [0, 2, 3]
    assert spread(np.array([1.0, 0.9, 0.4, 0.6]), prompts, 9) == [0, 2, 3, 1]


def test_without_pairs_or_words_there_is_nothing_to_fail_on():
    assert spread(np.array([]), [], 5) == []
    assert spread(np.array([0.2, 0.3]), ["", ""], 2) == [1, 0]


def compared_one_by_one(useful, prompts, wanted):
    """What `spread` is to choose, in the plainest form."""
    words = [frozenset(prompt.lower().split()) for prompt in prompts]
    likeness, chosen = np.zeros(len(words)), []
    while len(chosen) < min(wanted, len(words)):
        worth = useful * (1 - likeness)
        worth[chosen] = -1.0
        chosen.append(int(np.argmax(worth)))
        last = words[chosen[-1]]
        likeness = np.maximum(likeness, [len(one & last) / len(one | last) if one | last else 1.0 for one in words])
    return chosen


def random_prompts(random, count, most):
    lengths = random.integers(0, most, count)
    return [" ".join(f"word{number}" for number in random.zipf(1.3, length)) for length in lengths]


@pytest.mark.parametrize("seed", range(10))
def test_the_same_pairs_are_chosen_as_by_comparing_one_by_one(seed):
    random = np.random.default_rng(seed)
    prompts, useful = random_prompts(random, 120, 12), random.random(120).round(1)
    assert spread(useful, prompts, 60) == compared_one_by_one(useful, prompts, 60)
