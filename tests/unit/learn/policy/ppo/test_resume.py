from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unit.learn.policy.doubles import Watch, prompts

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import Interrupted, SpecError
from ser_core.learn.policy.ppo import checkpoint
from ser_core.learn.policy.ppo.guards import HackingLimits
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings
from ser_core.learn.policy.ppo.state import PPOState

SETTINGS = Settings(
    answers_per_step=5,
    answer_tokens=4,
    temperature=1.0,
    tokens_per_batch=40,
    epochs=2,
    minibatches=2,
    policy_rate=1e-3,
    critic_rate=1e-3,
    kl_target=0.5,
    kl_horizon=50.0,
    hacking=HackingLimits(window=2),
)
STEPS = 5


def weights(*owners) -> dict[str, torch.Tensor]:
    return {f"{number}/{name}": weight.detach().clone() for number, owner in enumerate(owners) for name, weight in owner.trainable()}


def untimed(state: PPOState) -> tuple[object, ...]:
    """All but the tensors and what a clock says."""
    history = tuple(replace(step, generate_seconds=0.0, score_seconds=0.0, train_seconds=0.0) for step in state.history)
    return history, state.kl_coefficient, state.ladder, state.score_mean, state.good.step


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=2, alpha=4)])
def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bits(actors, judge, tmp_path: Path, adapter: AdapterSpec | None):
    policy, critic, generator = actors(adapter)
    last = Watch(always_due=True)
    undisturbed = align(policy, critic, generator, prompts(3, 9, 1), judge, SETTINGS, steps=STEPS, watch=last).state

    saved, stops = None, 0
    for questions in (0, 3, 6, 9, 99):  # each time it gets a little further
        torch.manual_seed(stops)  # a new process has other random numbers
        policy, critic, generator = actors(adapter)
        watch = Watch(stop_after_questions=questions, always_due=True)
        try:
            done = align(policy, critic, generator, prompts(3, 9, 1), judge, SETTINGS, steps=STEPS, watch=watch, resume=saved).state
        except Interrupted:
            stops += 1
            folder = tmp_path / str(stops)
            folder.mkdir()
            checkpoint.write(watch.saved[-1], folder)
            saved = checkpoint.read(folder)
    assert stops >= 3
    assert untimed(done) == untimed(undisturbed)
    assert done.kl_coefficient != SETTINGS.kl_coefficient
    tensors, expected = (checkpoint.stored_tensors(one.saved[-1]) for one in (watch, last))
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_periodic_checkpoints_resume_as_well(actors, judge):
    policy, critic, generator = actors()
    watch = Watch(always_due=True)
    undisturbed = align(policy, critic, generator, prompts(3, 9), judge, SETTINGS, steps=4, watch=watch).state
    expected = weights(policy, critic)
    assert [len(saved.state.history) for saved in watch.saved] == [1, 2, 3, 4]
    for saved in (watch.saved[1], watch.saved[3]):
        policy, critic, generator = actors()
        done = align(policy, critic, generator, prompts(3, 9), judge, SETTINGS, steps=4, watch=Watch(), resume=saved).state
        assert untimed(done) == untimed(undisturbed)
        assert all(torch.equal(weight, expected[name]) for name, weight in weights(policy, critic).items())


@pytest.mark.parametrize(
    "name", ["policy/weight/model.norm.weight", "critic/exp_avg_sq/score.weight", "good/critic/score.weight", "random/cpu"]
)
def test_a_checkpoint_that_lacks_something_is_refused_by_name(actors, judge, tmp_path: Path, name: str):
    watch = Watch(always_due=True)
    align(*actors(), prompts(3), judge, SETTINGS, steps=1, watch=watch)
    file = checkpoint.write(watch.saved[0], tmp_path)["ppo.safetensors"]
    save_file({key: tensor for key, tensor in load_file(file).items() if key != name}, file)
    with pytest.raises(SpecError, match=f"lacks {name}"):
        align(*actors(), prompts(3), judge, SETTINGS, steps=2, watch=Watch(), resume=checkpoint.read(tmp_path))
