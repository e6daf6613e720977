"""A stage as it is shipped, on a random model and random rows."""

import importlib
import random
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.case import Case, Load
from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, LabelMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import LabeledPair, PoolPair, write_table
from ser_core.memory.alignment import alignment_bytes
from ser_core.memory.learners import alignment_of, policy_training, reward_training
from ser_core.memory.plan import StagePlan
from ser_core.memory.shape import ModelShape
from ser_core.memory.training import Sharding, training_bytes
from ser_core.store.objects.file import FileStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.manifest import Manifest, OutputFile
from ser_jobs.process.context import StageContext

_RUN = RunIdentity(namespace="benchmark", name="gpu", uid="gpu")
_MODELS = {StageKind.LABEL: (InputRole.LABELER,), StageKind.PPO: (InputRole.BEST,)}
"""Inputs of a stage beside what is prepared."""
_ALPHABET = "abcdefghijklmnopqrstuvwxyz "


@dataclass
class Clock:
    """Keeps when a stage showed which progress; it is the stage's `Reporter`."""

    marks: list[tuple[float, int, int]] = field(default_factory=list)

    def progress(self, step: int, total: int, unit: str) -> None:
        """One more mark."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), step, total))

    def event(self, name: str, **fields: Any) -> None:
        """Not kept."""

    @property
    def rate(self) -> float:
        """Units a second. What comes before the first quarter warms up."""
        counted = [(when, step) for when, step, total in self.marks if 4 * step >= total]
        (began, first), (ended, last) = counted[0], counted[-1]
        return (last - first) / max(ended - began, 1e-9)


class Inputs(StageContext):
    """A context whose inputs lie in folders of this machine: a benchmark has no use for copies of them."""

    def fetch(self, role: InputRole, name: str) -> Path:
        """A table."""
        return self.workdir.parent / "tables" / name

    def fetch_folder(self, role: InputRole, folder: str) -> Path:
        """The one model, as reward model, policy and base."""
        return self.workdir.parent / "model"


def spec_of(case: Case, load: Load) -> SERRunSpec:
    """The run that a case is a stage of."""
    adapter: dict[str, Any] | None = {} if case.adapter else None
    return SERRunSpec.model_validate(
        {
            "rewardModel": {"base": "hf://benchmark/model", "maxLength": 2 * load.row, "adapter": adapter},
            "data": {"source": {"uri": "hf://benchmark/data"}},
            "training": {"pairsPerStep": load.per_step, "tokensPerBatch": load.tokens_per_batch, "epochs": 1},
            "loop": {"rule": "paper"},
            "policy": {
                "base": "hf://benchmark/model",
                "adapter": adapter,
                "sft": {"epochs": 1, "answersPerStep": load.per_step},
                "steps": load.steps,
                "rolloutsPerStep": load.per_step,
                "promptTokens": load.prompt + 64,
                "answerTokens": load.answer,
                "generator": "vllm" if case.vllm else "transformers",
            },
            "resources": {stage: {"gpus": 1} for stage in ("label", "retrain", "sft", "ppo")},
            "storage": {"uri": "s3://benchmark/runs"},
        }
    )


def in_main_memory(found: StagePlan, spec: SERRunSpec, shape: ModelShape) -> StagePlan:
    """The plan of a training whose moments are in main memory, and in `ppo` what only scores."""
    sharding = Sharding(0, recompute=False, offload=True)
    if found.stage == "ppo":
        return replace(found, sharding=sharding, needs=alignment_bytes(alignment_of(spec, shape, shape, room=0), sharding, 1))
    training = reward_training(spec, shape) if found.stage == "retrain" else policy_training(spec, shape)
    return replace(found, sharding=sharding, needs=training_bytes(training, sharding, 1))


def write_tables(folder: Path, load: Load) -> None:
    """Random rows of one length, in all tables that stages read."""
    folder.mkdir(parents=True)
    draw = random.Random(0)

    def text(length: int) -> str:
        return "".join(draw.choices(_ALPHABET, k=length - 1)) + "z"

    labelled = [LabeledPair(f"{number}", text(load.prompt), text(load.answer), text(load.answer), "") for number in range(load.pairs)]
    pool = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, "") for pair in labelled]
    write_table(folder / "seed.parquet", LabeledPair, labelled[: load.steps * load.per_step])
    for name in ("dev", "heldout"):
        write_table(folder / f"{name}.parquet", LabeledPair, labelled[:4])
    write_table(folder / "pool.parquet", PoolPair, pool)


def stage_rate(case: Case, spec: SERRunSpec, place: Path, load: Load, forced: StagePlan | None) -> float:
    """Tokens a second of a stage's own steps. ``forced``: a plan that it must carry out."""
    kind = StageKind(case.work)
    workdir = place / f"work-{time.monotonic_ns()}"
    workdir.mkdir()
    clock, store = Clock(), FileStore(place / "store")
    stage = StageSpec(run=_RUN, stage=kind, iteration=int(kind is StageKind.LABEL), attempt=1, spec=spec, threads=8)
    inputs = dict.fromkeys((InputRole.PREPARED, *_MODELS.get(kind, ())), _manifest())
    context = Inputs(stage, store, inputs, workdir, clock, lambda: False, CheckpointStore(store, _RUN, time.monotonic_ns(), kind))
    module: Any = importlib.import_module(f"ser_jobs.stages.{case.work}")
    if forced is not None:
        module.refuse_what_does_not_fit = lambda *_: forced
    module.body(context)
    rows = {"label": 2, "retrain": 2, "sft": load.per_step, "ppo": load.per_step}[case.work]
    return clock.rate * rows * load.row


def _manifest() -> Manifest:
    part = OutputFile(key="benchmark/gpu/gpu/none", size=0, sha256="")
    names = ("seed.parquet", "dev.parquet", "heldout.parquet", "pool.parquet")
    return Manifest(
        run=_RUN,
        stage=StageKind.PREPARE,
        iteration=0,
        attempt=1,
        writer="",
        inputs={},
        outputs=dict.fromkeys(names, part),
        metrics=LabelMetrics(labeled=0, truncated=0),
        code_version="0",
        seed=0,
        threads=1,
        started_at="",
        finished_at="",
    )
