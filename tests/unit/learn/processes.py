"""One process of a group that trains; an own module, so that a new process can import it."""

import gc
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import distributed, multiprocessing
from unit.learn.reward.test_training import SPEC, Watch, pairs_of

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.policy import SupervisedSpec
from ser_core.errors import SERError
from ser_core.learn.compute import ranks
from ser_core.learn.compute.offload import OffloadedAdamW
from ser_core.learn.compute.parts import trainable
from ser_core.learn.compute.pieces import cut_layers, cut_weights
from ser_core.learn.compute.placing import place
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.log_probabilities import log_probabilities
from ser_core.learn.policy.policy import load_causal
from ser_core.learn.policy.supervised import Demonstration, FineTuningState, fine_tune
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.scoring import score_rows
from ser_core.learn.reward.training import TrainingState, train
from ser_core.memory.training import Sharding

STEPS = 4
RATE = 1e-3
CASE_SPEC = SPEC.model_copy(update={"tokens_per_batch": 128, "learning_rate": RATE})
"""Several micro-batches in a step; the last step of a pass has two pairs only, so that some processes have none."""

State = TrainingState | FineTuningState


@dataclass(frozen=True)
class Case:
    """One training of a reward model by all processes."""

    name: str
    base: Path
    stage: int = 0
    adapter: bool = False
    recompute: bool = False
    half: bool = False
    """Whether the trunk is computed in bf16."""
    steps: int = STEPS
    stop_in: int | None = None
    """The process that asks to stop, before step 4."""
    resume: Path | None = None
    broken: bool = False
    """The bias of the head is infinite."""
    together: bool = False
    """Whether rank 0 alone reads the weights."""
    pieces: bool = False
    """Whether layers are in pieces in the end: the frozen ones, or all."""
    offload: bool = False
    """Whether the optimizer's moments are in main memory."""

    @property
    def precision(self) -> Precision:
        return Precision("cpu", torch.bfloat16 if self.half else None)

    @property
    def lora(self) -> AdapterSpec | None:
        return AdapterSpec(rank=2, alpha=4) if self.adapter else None

    @property
    def sharding(self) -> Sharding:
        return Sharding(self.stage, self.recompute, self.pieces, self.offload)

    def load(self) -> Any:
        """What is trained."""
        return load(self.base, self.precision, max_length=64, adapter=self.lora, together=self.together)

    def network(self, model: Any) -> Any:
        """Its network."""
        return model.network

    def train(self, model: RewardModel, watch: "StopsAfter") -> State:
        """Train it, from a state if there is one."""
        resume = TrainingState.read(self.resume) if self.resume else None
        return train(model, pairs_of(model), CASE_SPEC, steps=self.steps, watch=watch, resume=resume, sharding=self.sharding)

    def scores(self, model: RewardModel) -> torch.Tensor:
        """What it computes in the end."""
        pairs = pairs_of(model)
        return model.score(pad([pairs[0].better, pairs[1].worse], model.tokenizer.pad_token_id))


class FineTuning(Case):
    """One fine-tuning of a policy: three steps in each of two passes, the last of them with two answers only."""

    def load(self) -> Any:
        """A causal language model; what does not learn is as it is multiplied. Rank 0 alone reads its weights."""
        network = load_causal(self.base, self.precision, adapter=self.lora)[0]
        if ranks.count() == 1:  # whatever stage the case names, one process has the weights whole
            place(network, self.precision.device)
        return network

    def network(self, model: Any) -> Any:
        """Itself."""
        return model

    def train(self, model: Any, watch: "StopsAfter") -> State:
        """Fine-tune it, from a state if there is one."""
        spec = SupervisedSpec(epochs=2, learning_rate=RATE, answers_per_step=5)
        resume = FineTuningState.read(self.resume) if self.resume else None
        rows = demonstrations()
        settings = {"tokens_per_batch": 40, "seed": 0, "watch": watch, "resume": resume, "sharding": self.sharding}
        return FineTuningState({}, fine_tune(model, rows, spec, self.precision, **settings))

    def scores(self, model: Any) -> torch.Tensor:
        """Log-probabilities of answers."""
        rows = demonstrations()[:2]
        batch = sequences([row.prompt for row in rows], [row.answer for row in rows], "cpu")
        return log_probabilities(model, batch, 1.0, self.precision, in_chunks=True)


class Scoring(Case):
    """The scoring of rows with a network in pieces; in one process with a whole one. Rank 0 has all rows but one."""

    def load(self) -> Any:
        """What scores."""
        model = load(self.base, self.precision, max_length=64, frozen=True, together=ranks.count() > 1)
        if ranks.count() > 1:
            cut_layers(model.network, "cpu")
        return model

    def train(self, model: RewardModel, watch: "StopsAfter") -> State:
        """It is not trained."""
        return TrainingState({}, ())

    def scores(self, model: RewardModel) -> torch.Tensor:
        """Of all rows; not a number for those that another process scores."""
        rows = [row for pair in pairs_of(model) for row in (pair.better, pair.worse)]
        own = [place for place in range(len(rows)) if ranks.count() == 1 or (place > 0) == (ranks.rank() == 0)]
        found = np.full(len(rows), np.nan)
        found[own] = score_rows(model, [rows[place] for place in own], 128)
        return torch.from_numpy(found)


def demonstrations(count: int = 12) -> list[Demonstration]:
    """Prompts and answers of many lengths."""
    draw = random.Random(4)
    rows = [[[draw.randrange(3, 60) for _ in range(draw.randint(1, 12))] for _ in range(2)] for _ in range(count)]
    return [Demonstration(tuple(prompt), tuple(answer), truncated=False) for prompt, answer in rows]


@dataclass(frozen=True)
class Outcome:
    """What one process saw of it."""

    state: Any
    """What it ended with, or was stopped with."""
    saved: Any
    """The newest checkpoint."""
    weights: dict[str, torch.Tensor]
    scores: torch.Tensor | None
    error: str | None
    plain: bool
    """Whether the model is an ordinary one in the end."""
    offloaded: bool = False
    """Whether steps were taken with moments in main memory."""


class StopsAfter(Watch):
    """Asks to stop after that many steps."""

    def __init__(self, steps: int | None, **answers: Any) -> None:
        super().__init__(**answers)
        self.steps = steps
        self.taken = 0

    def trained(self, step: Any) -> None:
        super().trained(step)
        self.taken += 1

    def stepped(self, step: int, loss: float) -> None:
        self.taken += 1

    def stopping(self) -> bool:
        return self.taken == self.steps


def trained(case: Case, rank: int = 0) -> Outcome:
    """Train as the case says, in this process's group or alone."""
    model = case.load()
    network = case.network(model)
    if case.broken:
        next(part for name, part in network.named_parameters() if name.endswith("classifier.bias")).data.fill_(float("inf"))
    watch = StopsAfter(3 if rank == case.stop_in else None, always_due=case.steps == 1)
    change = OffloadedAdamW._change
    try:
        with patch.object(OffloadedAdamW, "_change", autospec=True, side_effect=change) as changes:
            state = case.train(model, watch)
    except SERError as raised:
        saved = watch.saved[-1] if watch.saved else None
        return Outcome(saved, saved, {}, None, raised.reason, plain=True)
    with torch.no_grad():
        scores = case.scores(model)
    weights = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    if not dict(trainable(network)):
        weights |= {name: cut.whole() for name, cut in cut_weights(network).items()}
    plain = all(type(weight) is torch.nn.Parameter and not hasattr(weight, "ds_id") for weight in network.parameters())
    return Outcome(state, watch.saved[-1] if watch.saved else None, weights, scores, None, plain, changes.called)


def before(case: Case) -> dict[str, torch.Tensor]:
    """The weights that learn, before they have learnt."""
    return dict(trainable(case.network(case.load())))


def process(rank: int, count: int, port: int, cases: list[Case], folder: Path) -> None:
    """Train all cases together with the others, and write down what came out."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        for case in cases:
            outcome = trained(case, rank)
            torch.save(outcome, folder / f"{case.name}-{rank}.pt")
            keep(outcome.saved, folder / case.name / (f"rank-{rank}" if rank else ""))
            distributed.barrier()


LIBRARIES = ["torch", "deepspeed", "peft", "transformers.modeling_utils", "deepspeed.runtime.zero.muon.original_muon"]


def together(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run ``work(rank, *arguments)`` in that many processes, forked from one that has loaded the libraries but computes nothing."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(LIBRARIES)
    multiprocessing.start_processes(_with_libraries_at_rest, (work, *arguments), count, start_method="forkserver")


def _with_libraries_at_rest(rank: int, work: Callable[..., None], *arguments: Any) -> None:
    gc.freeze()  # DeepSpeed collects garbage for each engine, and would look through all of the libraries' objects
    work(rank, *arguments)


def keep(state: State | None, folder: Path) -> None:
    """Write a state down, for another training to go on from."""
    if state is not None:
        folder.mkdir(parents=True, exist_ok=True)
        state.write(folder)
