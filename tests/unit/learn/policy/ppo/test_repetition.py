"""What the numbers of repetition say of answers."""

import pytest
from unit.learn.policy.doubles import END, Judge, Script, Watch, prompts, table

from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.repetition import digest, repeated_triples, triple_numbers
from ser_core.learn.policy.ppo.settings import Settings


@pytest.mark.parametrize(
    ("tokens", "share"),
    [
        ([], 0.0),
        ([5, 5], 0.0),
        ([1, 2, 3, 4, 5], 0.0),
        ([7] * 12, 0.9),
        ([1, 2] * 6, 0.8),
        ([1, 2, 3, 9, 1, 2, 3], 0.2),
    ],
)
def test_a_triple_that_stood_before_is_repeated(tokens, share):
    assert repeated_triples(tokens) == pytest.approx(share)


def test_equal_answers_alone_have_one_digest():
    assert digest([1, 23]) == digest([1, 23]) != digest([12, 3])
    assert 0 <= digest([0]) < 2**63


def test_equal_triples_alone_have_one_number():
    first, second, third = triple_numbers([7, 8, 9, 7, 8])[0], *triple_numbers([7, 8, 9, 8])
    assert first == second != third
    assert triple_numbers([7, 8]) == []
    assert all(0 <= number < 2**63 for number in triple_numbers(range(9)))


def test_a_step_counts_its_different_answers():
    watch, policy, critic = Watch(), *table([0.0] * 4)
    script = Script(lambda prompt: [min(len(prompt), 2), END])
    align(
        policy, critic, script, prompts(1, 2, 3, 3), Judge(lambda _, text: float(text)),
        Settings(answers_per_step=4, answer_tokens=2), steps=1, watch=watch,
    )  # fmt: skip
    assert watch.metrics[0].distinct == 0.5
    assert watch.metrics[0].repeated == 0.0
    assert watch.metrics[0].distinct_triples is None


def test_a_step_counts_the_phrases_that_its_answers_share():
    watch, policy, critic = Watch(), *table([0.0] * 4)
    script = Script(lambda prompt: [1, 2, 1, min(len(prompt), 2), END])
    align(
        policy, critic, script, prompts(1, 2, 3, 3), Judge(lambda _, text: float(len(text))),
        Settings(answers_per_step=4, answer_tokens=5), steps=1, watch=watch,
    )  # fmt: skip
    # 1 2 1 in all; 2 1 1 and 1 1 END in one; 2 1 2 and 1 2 END in three.
    assert watch.metrics[0].distinct_triples == 5 / 12
