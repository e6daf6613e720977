"""The files of an alignment's checkpoint. Only this module knows their format; none of them is read by pickle.

``ppo.safetensors`` holds the tensors; of several processes each writes one, with the pieces that it owns (`saved_tensors`). OWNER is
``policy`` or ``critic``, NAME is the name of a weight:

| key | tensor |
| --- | --- |
| OWNER/weight/NAME | the weight |
| OWNER/exp_avg/NAME, OWNER/exp_avg_sq/NAME, OWNER/step/NAME | its Adam state |
| good/OWNER/NAME | the weight to fall back to |
| random/cpu, random/cuda | states of the random generators, one row for each process |

``ppo.json`` holds everything else. The names in both files never change: checkpoints of version 0.1.0 have them, and ``scores``
besides, which is not read.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ser_core.errors import SpecError
from ser_core.learn.compute.saved_tensors import open_saved
from ser_core.learn.policy.ppo.guards import Ladder
from ser_core.learn.policy.ppo.metrics import StepMetrics
from ser_core.learn.policy.ppo.random_states import RandomStates
from ser_core.learn.policy.ppo.state import GoodWeights, PPOState, SavedState, Tensors

_TENSORS, _NUMBERS = "ppo.safetensors", "ppo.json"
_STORED_NAMES = {"witness_score": "heldout_score"}
"""Fields of `StepMetrics` that have another name in ``ppo.json``."""


def write(saved: SavedState, folder: Path) -> dict[str, Path]:
    """Write the files of a checkpoint; returns their paths by name."""
    files = {name: folder / name for name in (_TENSORS, _NUMBERS)}
    save_file({key: tensor.contiguous() for key, tensor in stored_tensors(saved).items()}, files[_TENSORS])
    files[_NUMBERS].write_text(json.dumps(_stored_numbers(saved.state)), encoding="utf-8")
    return files


def read(folder: Path) -> SavedState:
    """Read what `write` wrote, in all processes.

    Raises:
        SpecError: A part is missing that every checkpoint has.
    """
    tensors = open_saved(folder, _TENSORS)
    numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
    needed = {"history", "kl_coefficient", "ladder", "score_mean", "good_step"}
    _refuse_if_any((needed - numbers.keys()) | ({"random/cpu"} - tensors.keys()))
    state = PPOState(
        good=GoodWeights(numbers["good_step"], tensors.below("good/policy/"), tensors.below("good/critic/")),
        random=RandomStates(tensors["random/cpu"], tensors.get("random/cuda")),
        history=tuple(
            StepMetrics(**_renamed(step, {stored: name for name, stored in _STORED_NAMES.items()})) for step in numbers["history"]
        ),
        kl_coefficient=numbers["kl_coefficient"],
        ladder=Ladder(**numbers["ladder"]),
        score_mean=numbers["score_mean"],
    )
    return SavedState(state, tensors.below("policy/"), tensors.below("critic/"))


def refuse_if_incomplete(saved: SavedState, policy: Collection[str], critic: Collection[str]) -> None:
    """Check that a state can be put back into two networks.

    Args:
        saved: What was read.
        policy: Names of the policy's trained weights.
        critic: Names of the critic's trained weights; none where there is no critic.

    Raises:
        SpecError: The checkpoint lacks a weight, or a part of a weight's Adam state.
    """
    needed: set[str] = set()
    there = {f"good/policy/{name}" for name in saved.state.good.policy} | {f"good/critic/{name}" for name in saved.state.good.critic}
    for owner, names, tensors in (("policy", policy, saved.policy), ("critic", critic, saved.critic)):
        moved = {key.split("/", 1)[1] for key in tensors if not key.startswith("weight/")}
        needed |= {f"{owner}/weight/{name}" for name in names} | {f"good/{owner}/{name}" for name in names}
        needed |= {f"{owner}/{part}/{name}" for part in ("exp_avg", "exp_avg_sq", "step") for name in moved}
        there |= {f"{owner}/{key}" for key in tensors}
    _refuse_if_any(needed - there)


def stored_tensors(saved: SavedState) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by their keys in ``ppo.safetensors``, not copied."""
    random, good = saved.state.random, saved.state.good
    generators = {"random/cpu": random.cpu} | ({} if random.cuda is None else {"random/cuda": random.cuda})
    trained = _with_prefix("policy/", saved.policy) | _with_prefix("critic/", saved.critic)
    return trained | _with_prefix("good/policy/", good.policy) | _with_prefix("good/critic/", good.critic) | generators


def _with_prefix(prefix: str, tensors: Tensors) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def _stored_numbers(state: PPOState) -> dict[str, Any]:
    return {
        "history": [_renamed(asdict(step), _STORED_NAMES) for step in state.history],
        "kl_coefficient": state.kl_coefficient,
        "ladder": asdict(state.ladder),
        "score_mean": state.score_mean,
        "good_step": state.good.step,
    }


def _renamed(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items()}


def _refuse_if_any(missing: Collection[str]) -> None:
    if missing:
        raise SpecError(
            f"the checkpoint of the policy lacks {min(missing)} and {len(missing) - 1} more parts",
            reason="CheckpointIncomplete",
            hint="remove the stage's folder checkpoints in the store: it then begins anew",
        )
