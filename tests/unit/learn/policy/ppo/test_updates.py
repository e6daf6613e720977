"""What one optimizer step is made of."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from unit.learn.policy.doubles import END, Judge, Script, Watch, prompts, table

from ser_core.learn.compute.parts import trainable
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

PROMPTS = prompts(3, 9, 1, 5, 12)
TOY = Settings(
    answers_per_step=1,
    answer_tokens=2,
    temperature=0.5,
    score_mean=0.0,
    missing_end_penalty=0.0,
    epochs=1,
    largest_gradient_norm=math.inf,
)


class Gradients(Watch):
    """Keeps the gradients of a step's last update."""

    def __init__(self, *owners) -> None:
        super().__init__()
        self.owners = owners
        self.found: list[dict[str, torch.Tensor]] = []

    def stepped(self, metrics) -> None:
        self.found = [{name: weight.grad.clone() for name, weight in trainable(owner.network)} for owner in self.owners]


def test_the_gradient_of_two_tokens_equals_the_one_computed_by_hand():
    """Values 0, score 2, lambda 0.95: advantages 1.9 and 2.0, whitened to -a and +a; returns 1.9 and 2.0.

    At ratio 1 the policy's gradient is ``-1/2 * sum(advantage * (one-hot - p) / temperature)``; p drops out since -a and +a add up to 0.
    """
    policy, critic = table([0.0, 0.3, -0.2, 1.0])
    watch = Gradients(policy, critic)
    align(policy, critic, Script(lambda _: [1, 2]), prompts(3), Judge(lambda *_: 2.0), TOY, steps=1, watch=watch)
    a = 0.05 / math.sqrt(0.05**2 + 1e-8)
    expected = torch.tensor([0.0, a, -a, 0.0]) / (2 * 0.5)
    torch.testing.assert_close(watch.found[0]["logits"], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(watch.found[1]["score.weight"], torch.tensor([[-0.1 * 1.95]]), rtol=0, atol=1e-6)


def test_large_gradients_are_scaled_down_apart_and_told_as_they_were():
    policy, critic = table([0.0, 0.3, -0.2, 1.0])
    settings = replace(TOY, largest_gradient_norm=0.01, critic_rate=0.1)
    script, judge = Script(lambda _: [1, 2]), Judge(lambda *_: 2.0)
    watch = Gradients(policy, critic)
    done = align(policy, critic, script, prompts(3), judge, settings, steps=1, watch=watch).state.history[0]
    for gradient in (watch.found[0]["logits"], watch.found[1]["score.weight"]):
        assert gradient.norm().item() == pytest.approx(0.01, rel=1e-4)
    assert done.policy_gradient_norm == pytest.approx(math.sqrt(2), rel=1e-4)
    assert done.critic_gradient_norm == pytest.approx(0.195, rel=1e-4)
    # Adam's first step is rate * g / (|g| + epsilon).
    assert critic.network.score.weight.item() == pytest.approx(0.1 * 0.01 / (0.01 + 1e-5), rel=1e-5)


def gradients(actors, **changes: object) -> dict[str, torch.Tensor]:
    """Of the last minibatch of a step with real networks, answers of all lengths, two of them empty."""
    policy, critic, _ = actors()
    torch.manual_seed(1)
    torch.nn.init.normal_(critic.network.score.weight)
    lengths = {prompt.tokens: length for prompt, length in zip(PROMPTS, (4, 0, 6, 1, 3), strict=True)}
    script = Script(lambda prompt: [(5 * place + len(prompt)) % 100 + 1 for place in range(lengths[tuple(prompt)])])
    settings = Settings(answers_per_step=8, answer_tokens=6, epochs=1, temperature=1.0, largest_gradient_norm=math.inf, kl_coefficient=0.1)
    judge = Judge(lambda prompt, answer: len(answer) / 7 + len(prompt) / 9)
    watch = Gradients(policy, critic)
    align(policy, critic, script, PROMPTS, judge, replace(settings, **changes), steps=1, watch=watch)
    return {f"{number}/{name}": gradient for number, found in enumerate(watch.found) for name, gradient in found.items()}


def test_how_rows_are_cut_into_micro_batches_changes_no_gradient(actors):
    whole = gradients(actors, tokens_per_batch=2048)
    assert all(gradient.norm() > 1e-4 for name, gradient in whole.items() if "k_proj.bias" not in name), "softmax ignores that bias"
    for budget in (1, 40):
        for name, gradient in gradients(actors, tokens_per_batch=budget).items():
            torch.testing.assert_close(gradient, whole[name], rtol=0, atol=1e-5)


def test_padding_and_other_rows_change_no_probability_and_no_value(actors):
    policy, critic, _ = actors()
    torch.nn.init.normal_(critic.network.score.weight)
    rows = [([1, 2, 3], [4, 5]), ([6], [7, 8, 9, 10]), ([11, 12, 13, 14, 15], [16])]
    with torch.no_grad():
        together = sequences(*zip(*rows, strict=True), "cpu")
        for number, row in enumerate(rows):
            alone = sequences([row[0]], [row[1]], "cpu")
            for compute in (lambda batch: policy.log_probabilities(batch, 0.7), lambda batch: critic.values(batch, 0.0)):
                expected = torch.zeros(together.answer_width)
                expected[: len(row[1])] = compute(alone)[0]
                torch.testing.assert_close(compute(together)[number], expected, rtol=0, atol=1e-5)


def test_probabilities_are_of_logits_divided_by_the_temperature(actors):
    policy, _, _ = actors()
    batch = sequences([[1, 2, 3]], [[4, 5]], "cpu")
    with torch.no_grad():
        logits = policy.network(input_ids=batch.tokens).logits[0, 2:4]
        expected = (logits / 0.3).log_softmax(-1)[[0, 1], [4, 5]]
        for found in (policy.log_probabilities(batch, 0.3), policy.reference_log_probabilities(batch, 0.3)):
            torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)


def test_a_value_knows_nothing_of_its_token(actors):
    _, critic, _ = actors()
    torch.nn.init.normal_(critic.network.score.weight)
    with torch.no_grad():
        one, other = (critic.values(sequences([[1, 2]], [[3, token, 9]], "cpu"), 0.0)[0] for token in (4, 5))
    assert torch.equal(one[:2], other[:2])
    assert one[2] != other[2]


@pytest.mark.parametrize(
    ("answer", "changes", "reward"),
    [
        ([1, END], {}, 3.0),
        ([1, END, 2, 3], {}, 3.0),  # what stands after the end is not seen
        ([1, 1], {"missing_end_penalty": 1.5}, 1.5),
        ([1, END], {"missing_end_penalty": 1.5}, 3.0),
        ([1, END], {"score_mean": 1.0}, 2.0),
        ([1, END], {"score_mean": None}, 0.0),  # the only score is the mean
        ([1, END], {"score_clip": 0.5}, 0.5),
        ([], {}, 0.0),
    ],
)
def test_what_an_answer_earns(answer: list[int], changes: dict[str, float | None], reward: float):
    policy, critic = table([0.0, 0.0, 0.0, 0.0])
    judge = Judge(lambda _, text: 3.0 if text == "1" else 3.0 * (text == "1 1"))
    settings = replace(TOY, answer_tokens=4, **changes)
    done = align(policy, critic, Script(lambda _: answer), prompts(3), judge, settings, steps=1, watch=Watch()).state.history[0]
    assert done.reward == reward
    assert done.answer_tokens == min(2, len(answer))
    assert done.ended == (END in answer)


def test_while_the_critic_warms_up_only_it_learns():
    policy, critic = table([0.0, 0.3, -0.2, 1.0])
    before = policy.network.logits.detach().clone()
    settings = replace(TOY, critic_warm_up=2, critic_rate=0.1, policy_rate=0.1)
    run = partial(align, policy, critic, Script(lambda _: [1, 2]), prompts(3), Judge(lambda *_: 2.0), settings, watch=Watch())
    run(steps=2)
    assert torch.equal(policy.network.logits.detach(), before)
    assert critic.network.score.weight.item() > 0.15
    run(steps=3)
    assert not torch.equal(policy.network.logits.detach(), before)


def test_the_passes_end_before_the_step_that_would_lead_too_far():
    done, weights = passes(epochs=10, step_kl_limit=0.02)
    assert done.ended_early
    assert 1 <= done.updates < 10
    assert done.approximate_kl > 0.02
    assert torch.equal(weights, passes(epochs=done.updates)[1])


def passes(**changes):
    """What one step of a few passes told, and the policy's weights after it."""
    policy, critic = table([0.0, 0.0, 0.0, 0.0])
    settings = replace(TOY, answers_per_step=4, policy_rate=0.5, **changes)
    script, judge = Script(lambda prompt: [len(prompt), END]), Judge(lambda _, text: float(text))
    done = align(policy, critic, script, prompts(1, 2, 3), judge, settings, steps=1, watch=Watch()).state.history[0]
    return done, policy.network.logits.detach()
