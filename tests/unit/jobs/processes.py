"""One process of a stage that several compute together; an own module, so that a new process can import it."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ser_core.api.stage import InputRole, StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import Interrupted
from ser_core.learn.compute.process_group import process_group
from ser_core.memory.amounts import amounts
from ser_core.memory.plan import StagePlan
from ser_core.memory.training import Sharding
from ser_core.store.objects.file import FileStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.manifest import Manifest
from ser_jobs.process.context import StageContext
from ser_jobs.process.runtime import BODIES

IN_PIECES = Sharding(3, recompute=True, pieces=True)


class Events:
    """Knows how far the stage is, and asks it to stop from there on."""

    def __init__(self, stop_at: int | None) -> None:
        self.shown: list[int] = []
        self._stop_at = stop_at

    def progress(self, step: int, total: int, unit: str) -> None:
        self.shown.append(step)

    def event(self, name: str, **fields: Any) -> None:
        pass

    def stopping(self) -> bool:
        return self._stop_at is not None and self.shown[-1] >= self._stop_at


class OfAnotherRank(FileStore):
    """The store of all ranks but 0, which write their own part of a checkpoint and nothing else."""

    def put(self, key: str, data: bytes) -> None:
        assert "/checkpoints/" in key and "/rank-" in key, key
        super().put(key, data)

    def upload(self, key: str, path: Path, *alive: Any) -> None:
        assert "/checkpoints/" in key and "/rank-" in key, key
        super().upload(key, path, *alive)

    def create(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("only rank 0 may")

    delete = create


def carried_out(context: StageContext, events: Events) -> dict[str, Any] | None:
    """Content of the files that the stage made, and its metrics; None: it has none."""
    output = importlib.import_module(BODIES[context.spec.stage]).body(context)
    if output is None:
        return None
    return {name: path.read_bytes() for name, path in output.files.items()} | {"metrics": output.metrics, "shown": events.shown}


def _break(stage: Any, rate: float, word: str) -> None:
    train = stage.train

    def trained(model: Any, pairs: Any, training: Any, **how: Any) -> Any:
        state = train(model, pairs, training, **how)
        if training.learning_rate == rate:
            model.network.get_input_embeddings().weight.data[model.tokenizer.convert_tokens_to_ids(word)] = torch.nan
        return state

    stage.train = trained


def process(
    rank: int,
    port: int,
    stops: list[int | None],
    spec: StageSpec,
    store: Path,
    inputs: Mapping[InputRole, Manifest],
    folder: Path,
    sharding: Sharding | None = None,
    broken: tuple[float, str] | None = None,
) -> None:
    """Carry the stage out once for each of ``stops``, at which rank 1 is asked to stop, and save the results.

    ``sharding``: what the stage is told that its GPUs need, of which there are none. ``broken``: a rate, and a word that no model trained
    with it can score.
    """
    if broken is not None:
        _break(importlib.import_module(BODIES[spec.stage]), *broken)
    if sharding is not None:
        stage: Any = importlib.import_module(BODIES[spec.stage])
        plan = StagePlan("any", 2, 1, False, amounts({}), amounts({}), None, sharding, pieces=2)
        stage.refuse_what_does_not_fit = lambda *_: plan
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    own_store = FileStore(store) if rank == 0 or spec.stage is StageKind.LABEL else OfAnotherRank(store)
    checkpoints = CheckpointStore(own_store, spec.run, spec.iteration, spec.stage)
    results: list[Any] = []
    with process_group():
        for number, stop_at in enumerate(stops):
            events = Events(stop_at if rank == 1 else None)
            workdir = folder / f"work-{number}-{rank}"
            workdir.mkdir()
            place = {"rank": rank, "local_rank": rank, "world_size": 2}
            context = StageContext(spec, own_store, inputs, workdir, events, events.stopping, checkpoints, **place)
            try:
                results.append(carried_out(context, events))
                torch.distributed.barrier()
                if rank == 0:
                    checkpoints.delete_all()  # as after its commit
                torch.distributed.barrier()
            except Interrupted as stopped:
                results.append(stopped.message)
    torch.save(results, folder / f"results-{rank}.pt")
