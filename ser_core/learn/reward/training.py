"""How a reward model is trained. Read it from top to bottom.

The position in the data is the number of the optimizer step, there is no dropout and no other randomness: weights, optimizer and
step are all that a checkpoint holds, and a resumed training gives the same bits as an undisturbed one.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file

from ser_core.api.spec.training import AGAINST_DIVERGENCE, TrainingSpec
from ser_core.data.tables import TrainingStep
from ser_core.errors import QualityError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.distributed import engine_for, training_of_network
from ser_core.learn.compute.engine import GATHERING, stop_after, trained_weights
from ser_core.learn.compute.rate import learning_rate
from ser_core.learn.compute.saved_tensors import open_saved
from ser_core.learn.reward.batching import pad, pairs_of_step, shares, steps_per_epoch
from ser_core.learn.reward.encoding import Row
from ser_core.learn.reward.losses import bradley_terry, centering, hinge
from ser_core.learn.reward.reward_model import RewardModel
from ser_core.memory.activations import MicroBatch
from ser_core.memory.training import Sharding


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """A pair to learn from. ``target`` is the probability that ``better`` is better; ``weight`` multiplies the pair's loss.

    ``margin``, in logits, is subtracted from the difference of the two scores (Llama 2, arXiv 2307.09288, Eq. 2)."""

    better: Row
    worse: Row
    target: float = 1.0
    weight: float = 1.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Everything that a training needs to go on: weights and optimizer moments by name (not copied), and the steps taken."""

    tensors: Mapping[str, torch.Tensor]
    history: tuple[TrainingStep, ...]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write ``state.safetensors`` and ``history.json``; returns them by name."""
        files = {name: folder / name for name in ("state.safetensors", "history.json")}
        save_file({name: tensor.contiguous() for name, tensor in self.tensors.items()}, files["state.safetensors"])
        files["history.json"].write_text(json.dumps([asdict(step) for step in self.history]), encoding="utf-8")
        return files

    @classmethod
    def read(cls, folder: Path) -> "TrainingState":
        """Read what `write` wrote, in all processes (`saved_tensors.open_saved`)."""
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        return cls(open_saved(folder, "state.safetensors"), tuple(TrainingStep(**step) for step in history))


class Watch(Protocol):
    """Who watches a training: it shows the progress, keeps checkpoints and may ask it to stop. Each process has one; a yes of any
    of them holds for all.
    """

    def stopping(self) -> bool:
        """Whether to save and stop now."""
        ...

    def checkpoint_due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, state: TrainingState) -> None:
        """Keep a checkpoint. Every process calls it; the state of each has the tensors that it owns."""
        ...

    def silent(self, phase: str) -> None:
        """What follows takes no steps, and may take long."""
        ...

    def trained(self, step: TrainingStep) -> None:
        """One more optimizer step was taken."""
        ...


def count_steps(pairs: int, spec: TrainingSpec) -> int:
    """Optimizer steps of a training on ``pairs`` pairs."""
    return spec.epochs * steps_per_epoch(pairs, spec.pairs_per_step)


def train(
    model: RewardModel,
    pairs: Sequence[TrainingPair],
    spec: TrainingSpec,
    *,
    steps: int,
    watch: Watch,
    resume: TrainingState | None = None,
    sharding: Sharding | None = None,
) -> TrainingState:
    """Train ``model`` in place with AdamW without weight decay, as in the method's released code.

    Several processes of one ``torch.distributed`` group call it together, with equal arguments, and share the pairs of every step.

    Args:
        model: The reward model.
        pairs: The pairs to learn from, in any fixed order.
        spec: Losses, rates and batch sizes.
        steps: Optimizer steps to take; `count_steps` gives those of ``spec.epochs``.
        watch: Told after every step, asked before every micro-batch; of several processes before every step.
        resume: State to go on from.
        sharding: How it is spread; None: as the memory of this machine needs it.

    Returns:
        The state after the last step, on rank 0 with the weights alone, on the others without tensors but for pieces of weights that
        stay in pieces; its history has one row for each optimizer step, those before ``resume`` included.

    Raises:
        QualityError: The loss or its gradient is not finite.
        Interrupted: The watch asked to stop; the last whole step was saved.
    """
    history = list(resume.history) if resume else []
    device, processes = model.precision.device, ranks.count()
    sizes = training_of_network(model.network, _batch(model, spec))
    engine = engine_for(model.network, spec.learning_rate, resume.tensors if resume else None, sizes, model.precision, sharding)
    trained = replace(model, network=engine.network)
    budget = model.precision.batch_tokens(spec.tokens_per_batch)

    def save() -> None:
        watch.silent(GATHERING)
        watch.save(TrainingState(engine.tensors(), tuple(history)))

    for step in range(len(history), steps):
        chosen = [pairs[index] for index in pairs_of_step(step, len(pairs), spec.pairs_per_step, spec.seed)]
        lengths = [max(len(pair.better), len(pair.worse)) for pair in chosen]
        own = shares(lengths, budget, processes)[ranks.rank()]
        # Processes take the same number of micro-batches, since each exchanges weights or gradients: this one, without weight, fills up.
        idle = [replace(chosen[lengths.index(min(lengths))], weight=0.0)]
        engine.start_step()
        total = 0.0
        for number, members in enumerate(own):
            if (processes == 1 or number == 0) and ranks.anywhere(watch.stopping(), device):
                stop_after(save, device, f"optimizer step {step} of {steps}")
            micro_batch = [chosen[index] for index in members] or idle
            batch = pad([pair.better for pair in micro_batch] + [pair.worse for pair in micro_batch], model.tokenizer.pad_token_id)
            # A sum over the step's pairs divided by their number: how they are cut into micro-batches changes nothing.
            loss = pair_losses(trained.score(batch), micro_batch, spec).sum() / len(chosen)
            engine.backward(loss, last=number == len(own) - 1)
            total += loss.item()
        total = ranks.total(torch.tensor(total, dtype=torch.float64, device=device)).item()
        rate = learning_rate(step, steps, spec.learning_rate)
        norm = engine.step(rate) if math.isfinite(total) else math.nan
        if not (math.isfinite(total) and math.isfinite(norm)):
            engine.drop()  # another training may follow
            raise QualityError(
                f"optimizer step {step + 1}: the loss is {total:g}, the norm of its gradient {norm:g}",
                reason="NonFiniteLoss",
                hint=AGAINST_DIVERGENCE,
            )
        tokens = sum(len(pair.better) + len(pair.worse) for pair in chosen)
        history.append(TrainingStep(step + 1, total, rate, norm, len(chosen), tokens))
        watch.trained(history[-1])
        if ranks.anywhere(watch.checkpoint_due(), device):
            save()
    watch.silent(GATHERING)
    engine.close()
    return TrainingState(trained_weights(model.network), tuple(history))


def _batch(model: RewardModel, spec: TrainingSpec) -> MicroBatch:
    """The largest micro-batch: a pair is never split."""
    length = model.encoder.max_length
    tokens = max(model.precision.batch_tokens(spec.tokens_per_batch), 2 * length)
    return MicroBatch(tokens, length, model.precision.autocast is not None)


def pair_losses(scores: torch.Tensor, pairs: Sequence[TrainingPair], spec: TrainingSpec) -> torch.Tensor:
    """Weighted loss of each pair, shape (pairs,).

    Args:
        scores: First those of the better answers, then those of the worse ones; shape (2 * pairs,).
        pairs: Their targets, weights and margins.
        spec: Which loss.
    """
    better, worse = scores.chunk(2)
    asked = zip(*((p.target, p.weight, p.margin) for p in pairs), strict=True)
    target, weight, margin = (torch.tensor(values, device=scores.device) for values in asked)
    beyond = better - worse - margin
    preference = bradley_terry(beyond, target) if spec.loss == "bradley-terry" else hinge(beyond, spec.margin, target)
    return weight * (preference + spec.centering * centering(better, worse))
