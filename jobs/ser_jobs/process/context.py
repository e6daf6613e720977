"""What a stage body gets, and what it returns. The runtime (`ser_jobs.process.runtime`) does the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ser_core.api.stage import InputRole, StageMetrics, StageSpec
from ser_core.errors import SpecError
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.checkpoints import CheckpointStore
from ser_core.store.stages.commit import fetch_outputs
from ser_core.store.stages.manifest import Manifest, OutputFile
from ser_jobs.process.input_folder import locked
from ser_jobs.telemetry.memory_plan import MemoryPlan
from ser_jobs.telemetry.metrics_exporter import Measurements


class Reporter(Protocol):
    """How a stage reports what it does: one JSON event a line on standard output."""

    def progress(self, step: int, total: int, unit: str) -> None:
        """``step`` of ``total`` ``unit`` (``steps``, ``pairs``, ``rows``) are done. Also the heartbeat. Throttled; call it often."""
        ...

    def event(self, name: str, **fields: Any) -> None:
        """Something worth a line in the log."""
        ...


@dataclass(frozen=True, slots=True)
class StageContext:
    """The inputs of a stage, verified, and its surroundings."""

    spec: StageSpec
    store: ObjectStore
    inputs: Mapping[InputRole, Manifest]
    workdir: Path
    """An empty folder of its own, removed at the end."""
    reporter: Reporter
    stopping: Callable[[], bool]
    """True after SIGTERM: save a checkpoint and raise `Interrupted`."""
    checkpoints: CheckpointStore
    """Checkpoints of this stage, shared by its attempts."""
    rank: int = 0
    """Rank of this process among those that compute the stage."""
    local_rank: int = 0
    """Rank within the pod, which is also the number of the GPU."""
    world_size: int = 1
    """Number of processes that compute the stage."""
    silent: Callable[[str], None] = lambda phase: None
    """Announce work that may take long and reports no progress (loading, saving, encoding). Otherwise it would count as a hang."""
    measurements: Measurements = field(default_factory=Measurements)
    """Live values for ``/metrics``, by the names in `ser_core.metrics`. Those of rank 0 are shown."""
    shared_inputs: Path | None = None
    """Folder of the inputs that the processes of a pod share; None: this process has its own. Files in it are only read."""
    memory_plan: MemoryPlan = field(default_factory=MemoryPlan)
    """What the stage was found to need of its GPUs and of main memory."""

    @property
    def tokens_per_batch(self) -> int:
        """Those of the spec, or what the plan makes of them."""
        found = self.memory_plan.found
        return (found.tokens if found is not None else None) or self.spec.spec.training.tokens_per_batch

    def fetch(self, role: InputRole, name: str) -> Path:
        """Local copy of one output of an input, for example ``(PREPARED, "seed.parquet")``. Size and SHA-256 are checked.

        Raises:
            SpecError: The input has no such output.
        """
        return self._fetch(role, [name])[name]

    def has(self, role: InputRole, name: str) -> bool:
        """Whether an input has that output."""
        return role in self.inputs and name in self.inputs[role].outputs

    def fetch_folder(self, role: InputRole, folder: str) -> Path:
        """Local copy of all outputs of an input below ``folder``, for example ``model``. Returns the folder."""
        names = [name for name in self.inputs[role].outputs if name.startswith(f"{folder}/")]
        self._fetch(role, names)
        return self._inputs / role.value / folder

    def folders(self, role: InputRole, folder: str) -> list[str]:
        """The folders right below ``folder`` in the outputs of an input, in the order of their numbers; empty: there are none."""
        names = {name.split("/")[1] for name in self.inputs[role].outputs if name.startswith(f"{folder}/")}
        return [f"{folder}/{name}" for name in sorted(names, key=int)]

    def newest_checkpoint(self) -> tuple[int, dict[str, Path]] | None:
        """Step and files of the stage's newest checkpoint, all in one folder and only to be read; None: there is none.

        The processes of a pod download it once.
        """
        fetching = partial(self.silent, "fetching the checkpoint")
        fetching()
        with locked(self._inputs):
            return self.checkpoints.newest(self._inputs / "checkpoints", self._contents, fetching)

    @property
    def _contents(self) -> Path:
        return self._inputs / "contents"

    @property
    def _inputs(self) -> Path:
        return self.shared_inputs or self.workdir / "inputs"

    def _fetch(self, role: InputRole, names: list[str]) -> dict[str, Path]:
        manifest = self.inputs[role]
        missing = [name for name in names if name not in manifest.outputs]
        if missing or not names:
            raise SpecError(f"{role.value} ({manifest.stage.value} of iteration {manifest.iteration}) has no output {', '.join(missing)}")
        fetching = partial(self.silent, f"fetching {role.value}")
        fetching()
        with locked(self._inputs):
            return fetch_outputs(self.store, manifest, names, self._inputs / role.value, self._contents, fetching)


@dataclass(frozen=True, slots=True)
class StageOutput:
    """The result of a stage: files by output name (a slash makes folders), and the metrics that it reports."""

    files: Mapping[str, Path]
    metrics: StageMetrics
    stored: Mapping[str, OutputFile] = field(default_factory=dict)
    """Outputs that an input of the stage has already, by their names here: the manifest names them, and nothing is copied."""


StageBody = Callable[[StageContext], StageOutput | None]
"""Returns None if another process commits the stage."""
