"""How a reward model is trained. Read it from top to bottom.

The position in the data is the number of the optimizer step, there is no dropout and no other randomness: weights, optimizer and
step are all that a checkpoint holds, and a resumed training gives the same bits as an undisturbed one.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from ser_core.api.serrun import TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.errors import Interrupted, QualityError
from ser_core.learn.batching import micro_batches, pad, pairs_of_step, steps_per_epoch
from ser_core.learn.encoding import Row
from ser_core.learn.losses import bradley_terry, centering, hinge
from ser_core.learn.reward_model import RewardModel

_WARM_UP = 0.1
_LARGEST_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A pair to learn from. ``target`` is the probability that ``better`` is better; ``weight`` multiplies the pair's loss."""

    better: Row
    worse: Row
    target: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Everything that a training needs to go on: weights and optimizer moments by name (not copied), and the steps taken."""

    tensors: dict[str, torch.Tensor]
    history: tuple[TrainingStep, ...]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``state.safetensors`` and ``history.json``; returns them by name."""
        files = {name: folder / name for name in ("state.safetensors", "history.json")}
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, files["state.safetensors"])
        files["history.json"].write_text(json.dumps([asdict(step) for step in self.history]), encoding="utf-8")
        return files

    @classmethod
    def read(cls, folder: Path) -> "TrainingState":
        """Read what `write` wrote."""
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        return cls(load_file(folder / "state.safetensors"), tuple(TrainingStep(**step) for step in history))


class Watch(Protocol):
    """Who watches a training: it shows the progress, keeps checkpoints and may ask it to stop."""

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: TrainingState) -> None:
        """Keep a checkpoint."""
        ...

    def trained(self, step: TrainingStep) -> None:
        """One more optimizer step was taken."""
        ...


def count_steps(pairs: int, spec: TrainingSpec) -> int:
    """Optimizer steps of a training on ``pairs`` pairs."""
    return spec.epochs * steps_per_epoch(pairs, spec.pairs_per_step)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rate of optimizer step ``step`` (from 0): linear warm-up over the first 10 %, then linearly down to zero after the last."""
    warm_up = max(1, math.ceil(_WARM_UP * steps))
    return peak * min((step + 1) / warm_up, (steps - step) / max(1, steps - warm_up + 1))


def train(
    model: RewardModel, pairs: Sequence[TrainingPair], spec: TrainingSpec, *, steps: int, watch: Watch, resume: TrainingState | None = None
) -> TrainingState:
    """Train ``model`` in place with AdamW without weight decay, as in the method's released code.

    Args:
        model: The reward model.
        pairs: The pairs to learn from, in any fixed order.
        spec: Losses, rates and batch sizes.
        steps: Optimizer steps to take; `count_steps` gives those of ``spec.epochs``.
        watch: Told after every step, asked before every micro-batch.
        resume: State to go on from.

    Returns:
        The state after the last step; its history has one row for each optimizer step, those before ``resume`` included.

    Raises:
        QualityError: The loss or its gradient is not finite.
        Interrupted: The watch asked to stop; the last whole step was saved.
    """
    weights = dict(model.trainable())
    optimizer = torch.optim.AdamW(weights.values(), lr=spec.learning_rate, weight_decay=0.0, fused=True)
    history = list(resume.history) if resume else []
    if resume:
        _restore(weights, optimizer, resume)
    budget = model.precision.batch_tokens(spec.tokens_per_batch)

    for step in range(len(history), steps):
        chosen = [pairs[index] for index in pairs_of_step(step, len(pairs), spec.pairs_per_step, spec.seed)]
        rate = learning_rate(step, steps, spec.learning_rate)
        optimizer.zero_grad()
        total, tokens = 0.0, 0
        for members in micro_batches([max(len(pair.better), len(pair.worse)) for pair in chosen], budget):
            if watch.stopping():
                watch.save(_state(weights, optimizer, history))
                raise Interrupted(f"stopped after optimizer step {step} of {steps}", hint="start it again to go on from there")
            micro_batch = [chosen[index] for index in members]
            batch = pad([pair.better for pair in micro_batch] + [pair.worse for pair in micro_batch], model.tokenizer.pad_token_id)
            # A sum over the step's pairs divided by their number: how they are cut into micro-batches changes nothing.
            loss = pair_losses(model.score(batch), micro_batch, spec).sum() / len(chosen)
            loss.backward()
            total += loss.item()
            tokens += sum(len(pair.better) + len(pair.worse) for pair in micro_batch)
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), _LARGEST_GRADIENT_NORM).item()
        if not (math.isfinite(total) and math.isfinite(norm)):
            raise QualityError(
                f"optimizer step {step + 1}: the loss is {total:g}, the norm of its gradient {norm:g}",
                reason="NonFiniteLoss",
                hint="lower training.learningRate, or set rewardModel.precision to fp32",
            )
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        history.append(TrainingStep(step + 1, total, rate, norm, len(chosen), tokens))
        watch.trained(history[-1])
        if watch.checkpoint_due():
            watch.save(_state(weights, optimizer, history))
    return _state(weights, optimizer, history)


def pair_losses(scores: torch.Tensor, pairs: Sequence[TrainingPair], spec: TrainingSpec) -> torch.Tensor:
    """Weighted loss of each pair, shape (pairs,).

    Args:
        scores: First those of the better answers, then those of the worse ones; shape (2 * pairs,).
        pairs: Their targets and weights.
        spec: Which loss.
    """
    better, worse = scores.chunk(2)
    target, weight = (torch.tensor(values, device=scores.device) for values in zip(*((p.target, p.weight) for p in pairs), strict=True))
    preference = bradley_terry(better - worse, target) if spec.loss == "bradley-terry" else hinge(better - worse, spec.margin)
    return weight * (preference + spec.centering * centering(better, worse))


def _state(weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, history: Sequence[TrainingStep]) -> TrainingState:
    tensors = {f"weight/{name}": weight.detach() for name, weight in weights.items()}
    for name, weight in weights.items():
        for moment, value in optimizer.state.get(weight, {}).items():
            tensors[f"{moment}/{name}"] = value
    return TrainingState(tensors, tuple(history))


def _restore(weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    moments: dict[str, dict[str, Any]] = {}
    for key, tensor in state.tensors.items():
        kind, name = key.split("/", 1)
        if kind == "weight":
            weights[name].data.copy_(tensor)
        else:
            moments.setdefault(name, {})[kind] = tensor.to(weights[name].device) if kind != "step" else tensor
    optimizer.state.update({weights[name]: values for name, values in moments.items()})
