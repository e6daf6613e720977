import math

import pytest
import torch

from ser_core.learn.policy.ppo import arithmetic

MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


def test_the_score_stands_at_the_last_real_token_alone():
    rewards = arithmetic.rewards(torch.tensor([5.0, 7.0, 9.0]), torch.zeros(3, 3), MASK, coefficient=0.1)
    assert rewards.tolist() == [[0, 0, 5], [7, 0, 0], [0, 0, 0]]


def test_the_distance_costs_at_every_token():
    rewards = arithmetic.rewards(torch.zeros(1), torch.tensor([[2.0, -1.0, 0.0]]), MASK[:1], coefficient=0.5)
    assert rewards.tolist() == [[-1.0, 0.5, 0.0]]


@pytest.mark.parametrize("score", [-3.0, 0.0, 3.0])
def test_an_answer_without_an_end_is_worth_less_than_the_same_with_one(score: float):
    with_end, without = arithmetic.penalised(torch.tensor([score, score]), torch.tensor([True, False]), 1.5).tolist()
    assert (with_end, without) == (score, score - 1.5)


def test_advantages_as_computed_by_hand():
    rewards, values = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[0.5, 1.0, 2.0]])
    # delta: 0 + 0.9 * 1 - 0.5 = 0.4; 1 + 0.9 * 2 - 1 = 1.8; 3 - 2 = 1. Each next one counts 0.9 * 0.5 = 0.45 of the one after it.
    expected = [[0.4 + 0.45 * (1.8 + 0.45 * 1.0), 1.8 + 0.45 * 1.0, 1.0]]
    found = arithmetic.generalised_advantages(rewards, values, discount=0.9, decay=0.5)
    torch.testing.assert_close(found, torch.tensor(expected))


def test_padding_after_an_answer_changes_no_advantage():
    rewards, values = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.2, 0.3]])
    longer = [torch.cat([part, torch.zeros(1, 3)], dim=1) for part in (rewards, values)]
    found = arithmetic.generalised_advantages(*longer, discount=1.0, decay=0.95)[:, :2]
    assert torch.equal(found, arithmetic.generalised_advantages(rewards, values, discount=1.0, decay=0.95))


def test_whitening_sees_real_tokens_alone():
    values = torch.tensor([[1.0, 2.0, 3.0], [6.0, 1e6, -1e6], [1e6, 1e6, 1e6]])
    white = arithmetic.whitened(values, MASK)
    assert torch.equal(white[~MASK], torch.zeros(5))
    assert math.isclose(white[MASK].mean().item(), 0.0, abs_tol=1e-6)
    assert math.isclose(white[MASK].var(unbiased=False).item(), 1.0, rel_tol=1e-5)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "loss", "learns"),
    [
        (0.0, 2.0, -2.0, True),
        (math.log(1.5), 2.0, -2.4, False),  # gained enough already
        (math.log(1.5), -2.0, 3.0, True),  # went the wrong way, so it is pulled back
        (math.log(0.5), 2.0, -1.0, True),
        (math.log(0.5), -2.0, 1.6, False),
    ],
)
def test_the_policy_loss_is_clipped_where_it_would_gain_from_going_on(log_ratio: float, advantage: float, loss: float, learns: bool):
    ratio = torch.tensor(log_ratio, requires_grad=True)
    found = arithmetic.policy_loss(ratio, torch.tensor(advantage), 0.2)
    found.backward()
    assert math.isclose(found.item(), loss, rel_tol=1e-6)
    assert (ratio.grad.item() != 0) is learns


@pytest.mark.parametrize(("value", "loss"), [(0.0, 0.5), (0.1, 0.405), (0.9, 0.32), (3.0, 2.0)])
def test_the_value_loss_takes_the_worse_of_the_clipped_and_the_free_value(value: float, loss: float):
    found = arithmetic.value_loss(torch.tensor(value), torch.tensor(0.0), torch.tensor(1.0), clip=0.2)
    assert math.isclose(found.item(), loss, rel_tol=1e-6)


def test_ratios_are_one_at_padding_and_never_overflow():
    old, new = torch.tensor([0.0, -900.0, -0.1]), torch.tensor([0.0, -0.1, -900.0])
    assert arithmetic.log_ratio(new, old, 20.0).tolist() == [0.0, 20.0, -20.0]
    assert arithmetic.ratio_sums(torch.zeros(4), 0.2).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("distance", "expected"), [(6.0, 0.0), (6.6, 0.01), (60.0, 0.02), (0.0, -0.02)])
def test_the_coefficients_logarithm_follows_the_distance_by_at_most_a_fifth(distance: float, expected: float):
    found = arithmetic.adapted_coefficient(1.0, distance, target=6.0, answers=1000, horizon=10_000)
    assert math.isclose(math.log(found), expected, rel_tol=1e-9, abs_tol=1e-12)


def test_the_coefficient_stays_positive_however_many_answers_a_step_has():
    assert arithmetic.adapted_coefficient(1.0, 0.0, target=6.0, answers=65_536, horizon=10_000) > 0
