"""One process of a small group; an own module, so that a new process can import it."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed
from unit.learn.policy.doubles import END, Judge, Script, Watch, prompts

from ser_core.learn.compute import ranks
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.ppo import checkpoint
from ser_core.learn.policy.ppo.critic import critic_from_policy
from ser_core.learn.policy.ppo.ppo import align
from ser_core.learn.policy.ppo.settings import Settings

SETTINGS = Settings(
    answers_per_step=7,  # the processes have different shares
    answer_tokens=6,
    epochs=2,
    minibatches=2,
    policy_rate=1e-3,
    critic_rate=1e-3,
    normalise_scores=True,
    kl_target=0.1,
    kl_horizon=20.0,
)


def aligned(folder: Path) -> dict[str, torch.Tensor]:
    """The weights after three steps with answers that are known, one of them empty."""
    policy, critic = load_policy(folder, Precision("cpu")), critic_from_policy(folder, Precision("cpu"))
    if ranks.rank():  # a process that starts from other weights gets those of rank 0
        torch.nn.init.ones_(critic.network.score.weight)
    policy = replace(policy, end_tokens=(END,))
    script = Script(lambda prompt: [*range(1, len(prompt)), END] if len(prompt) > 1 else [])
    judge = Judge(lambda prompt, answer: len(answer) / 5 + len(prompt) % 3)
    state = align(policy, critic, script, prompts(3, 9, 1, 5, 12), judge, SETTINGS, steps=3, watch=Watch()).state
    numbers = torch.tensor([[step.reward, step.score, step.kl, step.answer_tokens, step.explained_variance] for step in state.history])
    weights = {name: tensor for name, tensor in checkpoint.stored_tensors(state).items() if "/weight/" in name}
    return weights | {"numbers": numbers}


def process(rank: int, count: int, meeting_point: str, folder: Path, results: Path) -> None:
    """Align together with the others and write down what came out."""
    set_up_process(threads=1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=count)
    torch.save(aligned(folder), results / f"{rank}.pt")
    distributed.destroy_process_group()
