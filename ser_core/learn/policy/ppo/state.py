"""Everything that an alignment needs to go on, and nothing that pickle would have to read."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ser_core.errors import SpecError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import restore_moments, restore_weights, state_tensors
from ser_core.learn.policy.ppo.guards import Ladder
from ser_core.learn.policy.ppo.metrics import StepMetrics

_TENSORS, _NUMBERS = "ppo.safetensors", "ppo.json"


@dataclass(frozen=True, slots=True)
class ScoreMoments:
    """Running moments of all raw scores seen (parallel variance, Chan et al.)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared differences from the mean."""

    @property
    def deviation(self) -> float:
        """Standard deviation; 1 where it is unknown or nothing."""
        return (self.squares / self.count) ** 0.5 or 1.0 if self.count > 1 else 1.0

    def with_batch(self, count: int, mean: float, variance: float) -> "ScoreMoments":
        """The moments after one more batch."""
        total = self.count + count
        if not total:
            return self
        apart = mean - self.mean
        squares = self.squares + count * variance + apart * apart * self.count * count / total
        return ScoreMoments(total, self.mean + apart * count / total, squares)


@dataclass(frozen=True, slots=True)
class PPOState:
    """A PPO run between two steps. The position in the prompts is the number of steps taken."""

    tensors: dict[str, torch.Tensor]
    """``policy/weight/<name>``, ``critic/exp_avg/<name>``, ...; ``good/policy/<name>``, ...: weights to fall back to;
    ``random/cpu`` and ``random/cuda``, one row for each process."""
    history: tuple[StepMetrics, ...]
    kl_coefficient: float
    scores: ScoreMoments
    ladder: Ladder
    score_mean: float | None
    """Subtracted from raw scores; None: not known before the first step."""
    good_step: int
    """The step after which the weights under ``good/`` were kept."""

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``ppo.safetensors`` and ``ppo.json``; returns them by name."""
        files = {name: folder / name for name in (_TENSORS, _NUMBERS)}
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, files[_TENSORS])
        numbers = {
            "history": [asdict(step) for step in self.history],
            "kl_coefficient": self.kl_coefficient,
            "scores": asdict(self.scores),
            "ladder": asdict(self.ladder),
            "score_mean": self.score_mean,
            "good_step": self.good_step,
        }
        files[_NUMBERS].write_text(json.dumps(numbers), encoding="utf-8")
        return files

    @classmethod
    def read(cls, folder: Path) -> "PPOState":
        """Read what `write` wrote.

        Raises:
            SpecError: A part is missing.
        """
        numbers = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
        _refuse_if_missing({field.name for field in fields(cls) if field.name != "tensors"} - numbers.keys())
        return cls(
            tensors=load_file(folder / _TENSORS),
            history=tuple(StepMetrics(**step) for step in numbers["history"]),
            kl_coefficient=numbers["kl_coefficient"],
            scores=ScoreMoments(**numbers["scores"]),
            ladder=Ladder(**numbers["ladder"]),
            score_mean=numbers["score_mean"],
            good_step=numbers["good_step"],
        )


Learner = tuple[dict[str, nn.Parameter], torch.optim.Optimizer]
"""Weights by name, and their optimizer."""


def learner_tensors(learners: Mapping[str, Learner]) -> dict[str, torch.Tensor]:
    """Weights and optimizer moments by name, not copied."""
    return {f"{owner}/{key}": tensor for owner, learner in learners.items() for key, tensor in state_tensors(*learner).items()}


def restore_learners(learners: Mapping[str, Learner], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put weights and optimizer moments back. A weight without moments in ``tensors`` has had no optimizer step.

    Raises:
        SpecError: A weight is missing.
    """
    names = [(owner, name) for owner, (weights, _) in learners.items() for name in weights]
    needed = {f"{owner}/weight/{name}" for owner, name in names} | {f"good/{owner}/{name}" for owner, name in names}
    _refuse_if_missing(needed - tensors.keys())
    for owner, (weights, optimizer) in learners.items():
        own = {key.removeprefix(f"{owner}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{owner}/")}
        restore_weights(weights, own)
        optimizer.state.clear()
        restore_moments(weights, optimizer, own)


def kept_weights(learners: Mapping[str, Learner]) -> dict[str, torch.Tensor]:
    """Copies of all weights in main memory, to fall back to."""
    return {
        f"good/{owner}/{name}": weight.detach().to("cpu", copy=True)
        for owner, (weights, _) in learners.items()
        for name, weight in weights.items()
    }


def fall_back(learners: Mapping[str, Learner], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put the kept weights back; the optimizers begin anew, since their moments led away from there."""
    for owner, (weights, optimizer) in learners.items():
        optimizer.state.clear()
        for name, weight in weights.items():
            weight.data.copy_(tensors[f"good/{owner}/{name}"])


def random_tensors(device: str) -> dict[str, torch.Tensor]:
    """States of torch's random generators, one row for each process."""
    found = {"random/cpu": torch.get_rng_state()}
    if device == "cuda":
        found["random/cuda"] = torch.cuda.get_rng_state()
    # A process group of GPUs gathers tensors on GPUs only.
    return {name: ranks.collect(state.to(device)).cpu() for name, state in found.items()}


def restore_random(tensors: Mapping[str, torch.Tensor]) -> None:
    """Put this process's random generators back.

    Raises:
        SpecError: The state was written by another number of processes, or has no random generators.
    """
    _refuse_if_missing({"random/cpu"} - tensors.keys())
    rows = len(tensors["random/cpu"])
    if rows != ranks.count():
        raise SpecError(
            f"the checkpoint of the policy was written by {rows} processes, now there are {ranks.count()}",
            reason="WorldSizeChanged",
            hint="resume it with as many GPUs as it had",
        )
    # Copied: torch reads the generator's state from the tensor as it lies in memory, and a row of a file's tensor lies at any address.
    torch.set_rng_state(tensors["random/cpu"][ranks.rank()].clone())
    if "random/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random/cuda"][ranks.rank()].clone())


def _refuse_if_missing(names: Collection[str]) -> None:
    if names:
        raise SpecError(
            f"the checkpoint of the policy lacks {min(names)} and {len(names) - 1} more parts",
            reason="CheckpointIncomplete",
            hint="start the policy anew, without this checkpoint",
        )
