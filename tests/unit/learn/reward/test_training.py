import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.learn.watches import Answers, kept

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.training import TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.errors import Interrupted, QualityError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.compute.rate import learning_rate
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingPair, TrainingState, count_steps, train

SPEC = TrainingSpec(epochs=2, pairs_per_step=5, tokens_per_batch=512, learning_rate=1e-2)


class Watch(Answers):
    """Keeps the states that it is given."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.saved: list[TrainingState] = []
        self.pairs = 0

    def save(self, state: TrainingState) -> None:
        self.told.append("saved")
        self.saved.append(kept(state))

    def trained(self, step: TrainingStep) -> None:
        self.pairs += step.pairs


def pairs_of(model: RewardModel, count: int = 12) -> list[TrainingPair]:
    """Pairs that can be learnt: the better answer starts with w1."""
    draw = random.Random(3)
    words = [" ".join(f"w{draw.randrange(2, 60)}" for _ in range(draw.randint(1, 12))) for _ in range(count)]
    rows = model.encoder.pairs(words, [f"w1 {text}" for text in words[::-1]], words[::-1])
    return [TrainingPair(better, worse) for better, worse in rows]


def weights(model: RewardModel) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.trainable()}


def gradients(model: RewardModel, spec: TrainingSpec) -> dict[str, torch.Tensor]:
    """Gradients of one step over all pairs."""
    model.network.zero_grad()
    pairs = [replace(pair, target=0.8, weight=0.5 + index / 10) for index, pair in enumerate(pairs_of(model))]
    train(model, pairs, spec, steps=1, watch=Watch())
    return {name: weight.grad.clone() for name, weight in model.trainable() if weight.grad is not None}


@pytest.mark.parametrize("loss", ["bradley-terry", "hinge"])
def test_it_learns_what_can_be_learnt(base: Path, fp32: Precision, loss: str):
    model = load(base, fp32, max_length=64)
    steps = train(model, pairs_of(model), SPEC.model_copy(update={"loss": loss}), steps=30, watch=Watch()).history
    assert steps[-1].loss < 0.5 * steps[0].loss


def test_the_token_budget_changes_no_gradient(base: Path, fp32: Precision):
    found = []
    for budget in (64, 300, 100_000):
        spec = SPEC.model_copy(update={"pairs_per_step": 12, "tokens_per_batch": budget})
        found.append(gradients(load(base, fp32, max_length=64), spec))
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=0, atol=1e-6)


def test_dropout_is_off_and_everything_that_can_move_moves(base: Path, fp32: Precision):
    model = load(base, fp32, max_length=64)
    before = weights(model)
    train(model, pairs_of(model), SPEC, steps=2, watch=Watch())
    still = [name for name, weight in weights(model).items() if torch.equal(weight, before[name])]
    assert still == []
    assert not model.network.training


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=2, alpha=4)])
@pytest.mark.parametrize("questions", [0, 4, 8])
def test_interrupted_anywhere_and_resumed_it_ends_with_the_same_bits(
    base: Path, fp32: Precision, tmp_path: Path, questions: int, adapter: AdapterSpec | None
):
    spec = SPEC.model_copy(update={"tokens_per_batch": 128})  # several micro-batches in a step
    undisturbed = load(base, fp32, max_length=64, adapter=adapter)
    steps = count_steps(12, spec)
    history = train(undisturbed, pairs_of(undisturbed), spec, steps=steps, watch=Watch()).history

    stopped = load(base, fp32, max_length=64, adapter=adapter)
    watch = Watch(stop_after_questions=questions)
    with pytest.raises(Interrupted):
        train(stopped, pairs_of(stopped), spec, steps=steps, watch=watch)
    watch.saved[-1].write(tmp_path)

    resumed = load(base, fp32, max_length=64, adapter=adapter)
    state = train(resumed, pairs_of(resumed), spec, steps=steps, watch=Watch(), resume=TrainingState.read(tmp_path))
    assert state.history == history
    expected = weights(undisturbed)
    assert all(torch.equal(weight, expected[name]) for name, weight in weights(resumed).items())


def test_a_periodic_checkpoint_resumes_as_well(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=64)
    watch = Watch(always_due=True)
    history = train(model, pairs_of(model), SPEC, steps=6, watch=watch).history
    assert [len(state.history) for state in watch.saved] == [1, 2, 3, 4, 5, 6]
    for state in (watch.saved[2], watch.saved[-1]):
        resumed = load(bert, fp32, max_length=64)
        assert train(resumed, pairs_of(resumed), SPEC, steps=6, watch=Watch(), resume=state).history == history
        assert all(torch.equal(weight, weights(model)[name]) for name, weight in weights(resumed).items())


def test_gathering_the_weights_is_announced_before_every_checkpoint_and_at_the_end(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=64)
    watch = Watch(always_due=True)
    train(model, pairs_of(model), SPEC, steps=2, watch=watch)
    assert watch.told == ["gathering the weights", "saved"] * 2 + ["gathering the weights"]


def test_the_log_of_a_training_counts_pairs_and_real_tokens(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=64)
    pairs = pairs_of(model)
    watch = Watch()
    history = train(model, pairs, SPEC, steps=count_steps(12, SPEC), watch=watch).history
    assert [row.step for row in history] == [1, 2, 3, 4, 5, 6]
    assert [row.pairs for row in history] == [5, 5, 2, 5, 5, 2]
    assert sum(row.tokens for row in history) == 2 * sum(len(pair.better) + len(pair.worse) for pair in pairs)
    assert watch.pairs == 24


def test_a_loss_that_is_not_finite_ends_the_training_before_it_spoils_the_weights(bert: Path, fp32: Precision):
    model = load(bert, fp32, max_length=64)
    model.network.classifier.bias.data.fill_(float("inf"))
    before = weights(model)
    with pytest.raises(QualityError, match="optimizer step 1") as raised:
        train(model, pairs_of(model), SPEC, steps=2, watch=Watch())
    assert raised.value.reason == "NonFiniteLoss"
    assert "training.search.learningRates" in raised.value.hint
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


@pytest.mark.parametrize("steps", [1, 2, 10, 105])
def test_the_rate_warms_up_over_a_tenth_and_falls_to_almost_zero(steps: int):
    rates = [learning_rate(step, steps, 2.0) for step in range(steps)]
    peak = rates.index(max(rates))
    assert max(rates) == 2.0
    assert peak == max(1, -(-steps // 10)) - 1
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] <= 2.0 / max(1, steps - peak - 1)
