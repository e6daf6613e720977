"""How a policy is fine-tuned."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from unit.learn.processes import FineTuning, StopsAfter, demonstrations
from unit.learn.watches import Answers

from ser_core.api.spec.policy import SupervisedSpec
from ser_core.errors import Interrupted, QualityError
from ser_core.learn.compute.placing import place
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.policy import load_causal
from ser_core.learn.policy.supervised import FineTuningState, encode_demonstrations, fine_tune

SPEC = SupervisedSpec(epochs=2, learning_rate=1e-2, answers_per_step=5)


class Watch(Answers):
    """Keeps the states that it is given."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.saved: list[FineTuningState] = []

    def save(self, state: FineTuningState) -> None:
        copied = {name: tensor.clone() for name, tensor in state.tensors.items()}
        self.saved.append(FineTuningState(copied, state.losses))

    def stepped(self, step: int, loss: float) -> None:
        pass


def policy(base: Path, precision: Precision) -> Any:
    """What is fine-tuned, all of its weights read."""
    network = load_causal(base, precision)[0]
    place(network, precision.device)
    return network


@pytest.fixture
def tuned(qwen: Path, fp32: Precision) -> Callable[..., tuple[Any, tuple[float, ...]]]:
    """Fine-tunes the same policy each time."""

    def run(spec: SupervisedSpec = SPEC, budget: int = 40, **more: Any) -> tuple[Any, tuple[float, ...]]:
        network = load_causal(qwen, fp32)[0]
        watch = more.pop("watch", Watch())
        return network, fine_tune(network, demonstrations(), spec, fp32, tokens_per_batch=budget, seed=0, watch=watch, **more)

    return run


def test_it_learns_what_can_be_learnt(tuned):
    losses = tuned(SPEC.model_copy(update={"epochs": 8}))[1]
    assert losses[-1] < 0.7 * losses[0]


def test_the_loss_is_the_mean_over_the_tokens_of_the_answers(tuned, qwen: Path, fp32: Precision):
    rows = demonstrations()
    network = policy(qwen, fp32)
    sums = []
    for row in rows:
        with torch.no_grad():
            logits = network(input_ids=torch.tensor([[*row.prompt, *row.answer]])).logits[0]
        wanted = torch.tensor(row.answer)
        sums.append(torch.nn.functional.cross_entropy(logits[len(row.prompt) - 1 : -1], wanted, reduction="sum").item())
    expected = sum(sums) / sum(len(row.answer) for row in rows)
    assert tuned(SPEC.model_copy(update={"answers_per_step": 12, "epochs": 1}))[1] == pytest.approx([expected], abs=1e-5)


def test_the_token_budget_changes_no_gradient(tuned):
    spec = SPEC.model_copy(update={"answers_per_step": 12, "epochs": 1})
    watches = [Watch(always_due=True) for _ in range(3)]
    for watch, budget in zip(watches, (10_000, 100, 1), strict=True):
        tuned(spec, budget, watch=watch)
    whole, *others = (watch.saved[-1].tensors for watch in watches)
    for other in others:
        for name in whole:
            if name.startswith("exp_avg/"):  # a tenth of the gradient
                torch.testing.assert_close(10 * other[name], 10 * whole[name], rtol=0, atol=1e-6)


def test_dropout_is_off_and_everything_that_can_move_moves(tuned, qwen: Path, fp32: Precision):
    before: Mapping[str, torch.Tensor] = dict(policy(qwen, fp32).named_parameters())
    network, _ = tuned()
    assert not network.training
    assert [name for name, weight in network.named_parameters() if torch.equal(weight, before[name])] == []


@pytest.mark.parametrize("questions", [0, 3, 9])
def test_interrupted_anywhere_and_resumed_it_ends_with_the_same_bits(tuned, tmp_path: Path, questions: int):
    undisturbed, losses = tuned()
    watch = Watch(stop_after_questions=questions)
    with pytest.raises(Interrupted):
        tuned(watch=watch)
    watch.saved[-1].write(tmp_path)
    resumed, again = tuned(resume=FineTuningState.read(tmp_path))
    assert again == losses
    for name, weight in undisturbed.named_parameters():
        assert torch.equal(resumed.get_parameter(name), weight)


def test_a_loss_that_is_not_finite_ends_it(qwen: Path):
    case = FineTuning("broken", qwen)
    network = policy(qwen, case.precision)
    network.get_input_embeddings().weight.data.fill_(float("nan"))
    with pytest.raises(QualityError, match="step 1") as raised:
        case.train(network, StopsAfter(None))
    assert raised.value.reason == "NonFiniteLoss"


def test_a_long_prompt_loses_its_beginning_and_a_long_answer_its_end_token(qwen: Path, fp32: Precision):
    tokenizer = load_causal(qwen, fp32)[1]
    (whole,) = encode_demonstrations(tokenizer, ["w1 w2"], ["w3 w4"], prompt_tokens=200, answer_tokens=200)
    (cut,) = encode_demonstrations(tokenizer, ["w1 w2"], ["w3 w4"], prompt_tokens=4, answer_tokens=3)
    assert (whole.truncated, cut.truncated) == (False, True)
    assert whole.answer[-1] == tokenizer.eos_token_id
    assert cut.prompt == whole.prompt[-4:]
    assert cut.answer == whole.answer[:3]
