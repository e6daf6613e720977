import math

import pytest
import torch

from ser_core.api.spec.training import TrainingSpec
from ser_core.learn.reward.encoding import Row
from ser_core.learn.reward.losses import bradley_terry, centering, hinge
from ser_core.learn.reward.training import TrainingPair, pair_losses

ROW = Row(torch.zeros(1, dtype=torch.int32).numpy(), 0, 1, False)


def test_bradley_terry_is_the_cross_entropy_of_the_soft_label():
    margin, target = 1.5, 0.8
    probability = 1 / (1 + math.exp(-margin))
    expected = -(target * math.log(probability) + (1 - target) * math.log(1 - probability))
    torch.testing.assert_close(bradley_terry(torch.tensor([margin]), torch.tensor([target])), torch.tensor([expected]))


def test_bradley_terry_is_least_where_the_probability_is_the_target():
    margins = torch.linspace(-4, 4, 161)
    least = margins[bradley_terry(margins, torch.full_like(margins, 0.8)).argmin()]
    assert abs(least.item() - math.log(0.8 / 0.2)) < 0.05


def test_bradley_terry_stays_finite_far_out():
    assert torch.isfinite(bradley_terry(torch.tensor([1e4, -1e4]), torch.tensor([1.0, 1.0]))).all()


def test_hinge_asks_for_the_margin_and_no_more():
    assert hinge(torch.tensor([-1.0, 0.5, 1.0, 3.0]), 1.0, torch.tensor([1.0, 0.9, 1.0, 1.0])).tolist() == [2.0, 0.5, 0.0, 0.0]


def test_a_tie_pulls_both_ways():
    tied = torch.full((3,), 0.5)
    margin = torch.tensor([-3.0, 0.0, 3.0], requires_grad=True)
    assert bradley_terry(margin, tied).tolist() == pytest.approx([1.5486, 0.6931, 1.5486], abs=1e-4)
    assert hinge(margin, 1.0, tied).tolist() == [2.0, 1.0, 2.0]


def test_centering_is_the_squared_sum():
    assert centering(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 1.0])).tolist() == [0.0, 9.0]


def test_a_weight_multiplies_the_loss_of_its_pair_alone():
    scores = torch.tensor([1.0, 2.0, 0.5, -1.0])
    plain = pair_losses(scores, [TrainingPair(ROW, ROW), TrainingPair(ROW, ROW)], TrainingSpec())
    weighted = pair_losses(scores, [TrainingPair(ROW, ROW), TrainingPair(ROW, ROW, weight=3.0)], TrainingSpec())
    torch.testing.assert_close(weighted, plain * torch.tensor([1.0, 3.0]))
    expected = bradley_terry(torch.tensor([0.5, 3.0]), torch.ones(2)) + 0.01 * torch.tensor([2.25, 1.0])
    torch.testing.assert_close(plain, expected)


def test_a_margin_is_subtracted_from_the_difference_of_the_scores_as_llama_2_and_trl_do():
    scores = torch.tensor([1.0, 2.0, 0.5, -1.0])
    pairs = [TrainingPair(ROW, ROW, margin=2.0), TrainingPair(ROW, ROW)]
    found = pair_losses(scores, pairs, TrainingSpec(centering=0))
    torch.testing.assert_close(found, -torch.nn.functional.logsigmoid(torch.tensor([0.5 - 2.0, 3.0])))
    assert pair_losses(scores, pairs, TrainingSpec(centering=0, loss="hinge")).tolist() == [1.0 + 2.0 - 0.5, 0.0]


def test_without_a_margin_loss_and_gradient_are_the_same_bits():
    scores = torch.randn(64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = pair_losses(scores, [TrainingPair(ROW, ROW)] * 32, TrainingSpec(centering=0))
    plain = bradley_terry(scores[:32] - scores[32:], torch.ones(32))
    assert torch.equal(found, plain)
    assert torch.equal(*(torch.autograd.grad(loss.sum(), scores)[0] for loss in (found, plain)))
