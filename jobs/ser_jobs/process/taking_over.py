"""Taking over: a committed stage of the run that `spec.from` names is committed here too, when both stage keys are equal.

Nothing is copied: the new manifest names the leader's files, after a back-reference has been written into the leader's folder
(`ser_core.store.runs.followers`).
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ser_core.api.stage import InputRole, ManifestRef, Processes, RunIdentity, StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import CorruptObject, ObjectNotFound
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.followers import lie_outside, refer_back
from ser_core.store.runs.leader import leader_of
from ser_core.store.stages.commit import find_manifest
from ser_core.store.stages.manifest import Manifest, OutputFile, StageKeyRecord, TakeOver
from ser_core.store.stages.stage_key import differences, stage_key
from ser_jobs.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found at the leader."""

    leader: RunIdentity
    found: tuple[Manifest, ManifestRef] | None = None
    """Its manifest, of an equal stage key."""
    key: StageKeyRecord | None = None
    """The stage's own key, where it equals that of `found`."""
    why: str = ""
    """Why nothing was found."""

    @property
    def record(self) -> TakeOver:
        """What the follower's manifest says of it."""
        return TakeOver(run=self.leader, manifest=None if self.found is None else self.found[1], why=self.why)


def look(
    spec: StageSpec,
    store: ObjectStore,
    inputs: Mapping[InputRole, Manifest],
    folder: Path,
    processes: Processes,
    alive: Callable[[], None],
) -> Looked | None:
    """Compare a stage with its leader's; None: the run has no `spec.from`.

    Args:
        spec: The stage.
        store: Of both runs.
        inputs: Manifests of the stage's inputs.
        folder: For what must be read of the inputs of `prepare`.
        processes: What would compute the stage.
        alive: Called often.

    Raises:
        SpecError: There is no such run.
        SERError: An input of `prepare` cannot be read.
    """
    if spec.spec.from_ is None:
        return None
    looked = Looked(leader_of(store, spec.run, spec.spec.from_.run))
    try:
        found = find_manifest(store, looked.leader, spec.iteration, spec.stage)
    except (CorruptObject, ObjectNotFound) as error:
        return replace(looked, why=f"its results cannot be read: {error.message}")
    if found is None:
        return replace(looked, why="it has not committed this stage")
    theirs = found[0].stage_key
    if theirs is None:
        return replace(looked, why="version 0.1.0 committed this stage, and every stage computes something else since")
    if lie_outside(spec.run.namespace, found[0].outputs):
        return replace(looked, why="its files lie outside of the namespace")
    own = stage_key(spec, inputs, processes)
    if spec.stage is StageKind.PREPARE:
        reads_the_same = (own.spec, own.algorithm) == (theirs.spec, theirs.algorithm)
        origins = _present_origins(spec, folder / "origins", alive) if reads_the_same else theirs.inputs
        own = stage_key(spec, inputs, processes, origins)
    different = differences(own, theirs)
    return replace(looked, why=different) if different else replace(looked, found=found, key=own)


def processes_of(spec: StageSpec, here: Ranks) -> Processes:
    """What computes a stage: the processes that are here, or of a process that only looks, those that the run wants.

    Whether they are on GPUs is seen where torch is loaded; else nothing is computed in this process.
    """
    wanted = spec.processes or Processes()
    torch = sys.modules.get("torch")
    on_gpus = wanted.on_gpus if torch is None else bool(torch.cuda.is_available())
    return Processes(count=wanted.count if spec.mode == "report" else here.world_size, on_gpus=on_gpus)


def claim(looked: Looked, spec: StageSpec, store: ObjectStore, processes: int) -> Looked:
    """Make sure that what was found stays until this run is purged. What cannot be used is left out, with the reason.

    Only one process may do it: of several, some might have looked just before the leader's commit, and would wait for the others for ever.
    """
    if looked.found is None:
        return looked
    alone = processes == 1
    refused = refer_back(store, spec.run, looked.found[0].outputs) if alone else "it committed this stage after the computation had begun"
    return replace(looked, found=None, why=refused) if refused else looked


def written_origins(files: Mapping[str, Path], outputs: Mapping[str, OutputFile]) -> dict[str, str]:
    """What the inputs of `prepare` held, by what it has written."""
    from ser_core.data.preparing.origins import recorded_origins  # pyarrow: only `prepare` needs it

    return recorded_origins(json.loads(files["provenance.json"].read_bytes()), outputs)


def _present_origins(spec: StageSpec, folder: Path, alive: Callable[[], None]) -> dict[str, str]:
    from ser_core.data.preparing.origins import present_origins
    from ser_core.data.reading.locations import Access

    try:
        return present_origins(spec.spec, Access(spec.spec.storage, spec.spec.hub), folder, alive)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # `prepare` may fetch the same once more, and the disk need not hold both
