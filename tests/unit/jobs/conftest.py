"""A run in a real store, whose earlier stages are written by hand, and a stage that runs on them."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import InputRole, LabelMetrics, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.data.tables import HiddenLabel, LabeledPair, PoolPair, write_table
from ser_core.store.objects.file import FileStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import upload_outputs
from ser_core.store.stages.manifest import Manifest
from ser_jobs.process.context import StageBody, StageContext, StageOutput

RUN = RunIdentity(namespace="default", name="run", uid="uid-1")


@dataclass
class Events:
    """Keeps what a stage says."""

    shown: list[tuple[int, int, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def progress(self, step: int, total: int, unit: str) -> None:
        self.shown.append((step, total, unit))

    def event(self, name: str, **fields: Any) -> None:
        self.told.append(name)


class RunWorkshop:
    """Writes inputs, and runs stages on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FileStore(folder / "store")
        self.events = Events()
        self._inputs: dict[InputRole, Manifest] = {}

    def give(
        self,
        role: InputRole,
        tables: dict[str, tuple[type, list[Any]]] | None = None,
        model: Path | None = None,
        policy: Path | None = None,
    ) -> None:
        """Commit an input of a role."""
        folder = self.folder / "given" / role.value
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, (row, rows) in (tables or {}).items():
            files[name] = folder / name
            write_table(files[name], row, rows)
        if model is not None:
            files |= {f"model/{path.name}": path for path in model.iterdir()}
        if policy is not None:
            files |= {f"policy/{path.name}": path for path in policy.iterdir()}
        self.give_output(role, StageOutput(files, LabelMetrics(labeled=0, truncated=0)))

    def give_output(self, role: InputRole, output: StageOutput) -> None:
        """Commit what a stage has made as the input of a role."""
        stage = StageKind.PREPARE if role is InputRole.PREPARED else StageKind.RETRAIN
        self._inputs[role] = Manifest(
            run=RUN,
            stage=stage,
            iteration=0,
            attempt=1,
            writer="w",
            inputs={},
            outputs=upload_outputs(self.store, RUN, 0, stage, 1, output.files) | dict(output.stored),
            metrics=output.metrics,
            code_version="0",
            seed=0,
            threads=1,
            started_at="",
            finished_at="",
        )

    def context(
        self,
        kind: StageKind,
        iteration: int = 0,
        *,
        rule: str = "calibrated",
        folds: int | None = None,
        retrain_from: str | None = None,
        policy: dict[str, Any] | None = None,
        adapter: dict[str, Any] | None = None,
        epochs: int = 2,
        search: dict[str, Any] | None = None,
        steps: int | None = None,
        stopping: Callable[[], bool] = lambda: False,
        rank: int = 0,
        world_size: int = 1,
    ) -> StageContext:
        """What a stage gets. Without ``folds`` rule calibrated is that of version 0.1.0, which has a target precision."""
        spec = SERRunSpec.model_validate(
            {
                "rewardModel": {"base": "hf://organisation/model", "maxLength": 64, "precision": "fp32", "adapter": adapter},
                "data": {"source": {"uri": "hf://organisation/data"}},
                "training": {"pairsPerStep": 8, "tokensPerBatch": 256, "learningRate": 0.01, "epochs": epochs, "search": search},
                "loop": {
                    "rule": rule,
                    "folds": folds,
                    "retrainFrom": retrain_from,
                    "thresholds": {"targetPrecision": None if folds else 0.9},
                },
                "policy": policy,
                "storage": {"uri": "s3://bucket/prefix"},
            }
        )
        stage = StageSpec(run=RUN, stage=kind, iteration=iteration, attempt=1, spec=spec, steps=steps, threads=1)
        workdir = self.folder / f"work-{len(list(self.folder.iterdir()))}"
        workdir.mkdir()
        checkpoints = CheckpointStore(self.store, RUN, iteration, kind)
        inputs = dict(self._inputs)
        return StageContext(stage, self.store, inputs, workdir, self.events, stopping, checkpoints, rank=rank, world_size=world_size)

    def run(self, body: StageBody, kind: StageKind, iteration: int = 0, **settings: Any) -> StageOutput | None:
        return body(self.context(kind, iteration, **settings))


def labeled(name: str, count: int) -> list[LabeledPair]:
    """Pairs that can be learnt: the better answer starts with w1."""
    draw = random.Random(name)
    texts = [" ".join(f"w{draw.randrange(2, 60)}" for _ in range(draw.randint(1, 12))) for _ in range(count)]
    return [LabeledPair(f"{name}{index:02}", f"w{index}", f"w1 {text}", text, "here") for index, text in enumerate(texts)]


@pytest.fixture
def workshop(tmp_path: Path, bert: Path) -> RunWorkshop:
    """A prepared run: 24 seed, 12 dev, 16 pool and 12 held-out pairs; answer 1 of a pool pair is the better one if its number is even."""
    made = RunWorkshop(tmp_path)
    pool = [
        PoolPair(pair.id, pair.prompt, *((pair.chosen, pair.rejected) if index % 2 == 0 else (pair.rejected, pair.chosen)), pair.source)
        for index, pair in enumerate(labeled("pool", 16))
    ]
    tables: dict[str, tuple[type, list[Any]]] = {
        "seed.parquet": (LabeledPair, labeled("seed", 24)),
        "dev.parquet": (LabeledPair, labeled("dev", 12)),
        "heldout.parquet": (LabeledPair, labeled("heldout", 12)),
        "pool.parquet": (PoolPair, pool),
        "pool_labels.parquet": (HiddenLabel, [HiddenLabel(pair.id, 1 + index % 2) for index, pair in enumerate(pool)]),
    }
    made.give(InputRole.PREPARED, tables, bert)
    made.tables = tables  # type: ignore[attr-defined]
    return made
