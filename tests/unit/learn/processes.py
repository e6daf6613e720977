"""One process of a group that trains; an own module, so that a new process can import it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing
from unit.learn.reward.test_training import SPEC, Watch, pairs_of

from ser_core.api.adapter import AdapterSpec
from ser_core.errors import SERError
from ser_core.learn.compute.precision import Precision, set_up_process
from ser_core.learn.compute.process_group import process_group
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.reward.training import TrainingState, train
from ser_core.memory.training import Sharding

STEPS = 4
RATE = 1e-3
CASE_SPEC = SPEC.model_copy(update={"tokens_per_batch": 128, "learning_rate": RATE})
"""Several micro-batches in a step; the last step of a pass has two pairs only, so that some processes have none."""


@dataclass(frozen=True)
class Case:
    """One training by all processes."""

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
    """The head's bias is infinite."""


@dataclass(frozen=True)
class Outcome:
    """What one process saw of it."""

    state: TrainingState | None
    weights: dict[str, torch.Tensor]
    scores: torch.Tensor | None
    error: str | None
    plain: bool
    """Whether the model is an ordinary one in the end."""


class StopsAfter(Watch):
    """Asks to stop after that many steps."""

    def __init__(self, steps: int | None) -> None:
        super().__init__()
        self.steps = steps
        self.taken = 0

    def trained(self, step: Any) -> None:
        super().trained(step)
        self.taken += 1

    def stopping(self) -> bool:
        return self.taken == self.steps


def model_of(case: Case) -> RewardModel:
    precision = Precision("cpu", torch.bfloat16 if case.half else None)
    return load(case.base, precision, max_length=64, adapter=AdapterSpec(rank=2, alpha=4) if case.adapter else None)


def trained(case: Case, rank: int = 0) -> Outcome:
    """Train as the case says, in this process's group or alone."""
    model = model_of(case)
    pairs = pairs_of(model)
    if case.broken:
        next(part for name, part in model.network.named_parameters() if name.endswith("classifier.bias")).data.fill_(float("inf"))
    watch = StopsAfter(3 if rank == case.stop_in else None)
    try:
        state = train(
            model,
            pairs,
            CASE_SPEC,
            steps=case.steps,
            watch=watch,
            resume=TrainingState.read(case.resume) if case.resume else None,
            sharding=Sharding(case.stage, case.recompute),
        )
    except SERError as raised:
        return Outcome(watch.saved[-1] if watch.saved else None, {}, None, raised.reason, plain=True)
    with torch.no_grad():
        scores = model.score(pad([pairs[0].better, pairs[1].worse], model.tokenizer.pad_token_id))
    weights = {name: weight.detach().clone() for name, weight in model.network.named_parameters()}
    plain = all(type(weight) is torch.nn.Parameter and not hasattr(weight, "ds_id") for weight in model.network.parameters())
    return Outcome(state, weights, scores, None, plain)


def process(rank: int, count: int, port: int, cases: list[Case], folder: Path) -> None:
    """Train all cases together with the others, and write down what came out."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    set_up_process(threads=1)
    with process_group():
        for case in cases:
            outcome = trained(case, rank)
            torch.save(outcome, folder / f"{case.name}-{rank}.pt")
            if rank == 0:
                keep(outcome.state, folder / case.name)
            distributed.barrier()


def together(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run ``work(rank, *arguments)`` in that many processes, forked from one that has loaded the libraries but computes nothing."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch", "deepspeed", "peft", "transformers.modeling_utils"])
    multiprocessing.start_processes(work, arguments, count, start_method="forkserver")


def keep(state: TrainingState | None, folder: Path) -> None:
    """Write a state down, for another training to go on from."""
    if state is not None:
        folder.mkdir()
        state.write(folder)
