"""`storage.retain: best`: the weights of reward models that nothing needs any more are removed while the run goes on.

Manifests, tables and logs stay. Before anything is removed, one object of the run names it, so that a reader can say in words what is gone.
A run whose files another run has taken over (`spec.from`) keeps all: the object is written before back-references are looked for, and a
follower looks for it after it has written its back-reference, so one of the two sees the other.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ser_core.api.stage import RetrainMetrics, RunIdentity, StageSpec
from ser_core.api.status import IterationStatus, LearningStatus, StageKind
from ser_core.loop.deciding.stages import CONTROL_OF_STAGE, PPO, SEED_MODEL, StageKey
from ser_core.loop.deciding.stopping import best, ratio
from ser_core.store.objects.port import ObjectStore
from ser_core.store.runs.followers import followers_of
from ser_core.store.stages.commit import find_manifest
from ser_core.store.stages.manifest import Manifest, OutputFile, run_prefix, stage_prefix
from ser_core.store.stages.model_folder import FOLDS, MODEL
from ser_core.store.stages.removed import Removed, mark_removed, removed_by

Models = Mapping[StageKey, Manifest]
"""The committed reward models of a run, those of its controls included."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What came of one look at the models of a run."""

    models: tuple[StageKey, ...] = ()
    """Those whose weights were removed."""
    bytes: int = 0
    kept_for: tuple[str, ...] = ()
    """Names of the runs for which all models are kept."""


def remove_unneeded(store: ObjectStore, spec: StageSpec) -> Removal:
    """Remove the weights that nothing needs any more now that a stage is committed.

    Killed at any moment, the next stage's look does the rest.

    Args:
        store: The run's.
        spec: The stage that has committed. Only after a reward model and after `ppo` can there be anything to remove.
    """
    if spec.spec.storage.retain != "best" or spec.stage not in (StageKind.RETRAIN, StageKind.PPO, *CONTROL_OF_STAGE):
        return Removal()
    models = _models(store, spec.run)
    aligned = find_manifest(store, spec.run, PPO.iteration, PPO.stage) is not None
    kept = needed(models, wants_policy=spec.spec.policy is not None, aligned=aligned)
    unneeded = unneeded_files(models, kept, spec.run)
    there = {entry.key: entry.size for entry in store.list(f"{run_prefix(spec.run)}/") if entry.key in unneeded}
    if not there:
        return Removal()
    gone = {key: model for key, model in removed_by(store, spec.run).models.items() if key not in there}
    mark_removed(store, spec.run, Removed(models=gone | {key: told(unneeded[key]) for key in there}))
    others = followers_of(store, spec.run)
    if others:
        mark_removed(store, spec.run, Removed(models=gone))  # also not what a look that was killed has named
        return Removal(kept_for=tuple(sorted({one.name for one in others})))
    for key in there:
        store.delete(key)
    return Removal(tuple(dict.fromkeys(unneeded[key] for key in there)), sum(there.values()))


def needed(models: Models, *, wants_policy: bool, aligned: bool) -> set[StageKey]:
    """The reward models that are read again, or that a user asks for. Pure.

    That is the best one; while loops can follow, also the newest, which may label; and before PPO the seed model, which is its witness.
    Without a policy loops can always follow, since maxIterations can be raised.

    Args:
        models: All.
        wants_policy: Whether the run has a policy.
        aligned: Whether PPO is done: then maxIterations is final.
    """
    loops = {key: manifest.metrics for key, manifest in models.items() if key.stage is StageKind.RETRAIN}
    rows = [_row(key, metrics) for key, metrics in loops.items() if isinstance(metrics, RetrainMetrics)]
    found = best(rows)
    numbers = set() if found is None else {found.iteration}
    if not aligned:
        numbers |= {key.iteration for key in list(loops)[-1:]} | ({0} if wants_policy else set())
    return {StageKey(number, StageKind.RETRAIN) for number in numbers}


def unneeded_files(models: Models, kept: Collection[StageKey], run: RunIdentity) -> dict[str, StageKey]:
    """Keys of the files that only models which are not kept have, with the model; those of other runs are not among them. Pure."""
    used = {part.key for key, manifest in models.items() if key in kept for part in _files(manifest)}
    found: dict[str, StageKey] = {}
    for key, manifest in models.items():
        for part in _files(manifest):
            own = part.key.startswith(f"{stage_prefix(run, key.iteration, key.stage)}/")
            if key not in kept and part.key not in used and own:
                found.setdefault(part.key, key)
    return found


def told(model: StageKey) -> str:
    """A reward model as messages name it."""
    if model == SEED_MODEL:
        return "the seed model"
    return f"the model of {f'loop {model.iteration}' if model.iteration else model.stage.value}"


def _models(store: ObjectStore, run: RunIdentity) -> dict[StageKey, Manifest]:
    """All committed reward models; those of the loops first, in their order."""
    found = {}
    for iteration in itertools.count():
        known = find_manifest(store, run, iteration, StageKind.RETRAIN)
        if known is None:
            break
        found[StageKey(iteration, StageKind.RETRAIN)] = known[0]
    for kind in CONTROL_OF_STAGE:
        known = find_manifest(store, run, 0, kind)
        if known is not None:
            found[StageKey(0, kind)] = known[0]
    return found


def _row(key: StageKey, metrics: RetrainMetrics) -> IterationStatus:
    """As the planner records it to choose the best."""
    dev = metrics.dev
    status = LearningStatus.STATUS_1 if key.iteration else LearningStatus.SEED
    return IterationStatus(
        iteration=key.iteration,
        learning_status=status,
        dev_accuracy=ratio(dev.accuracy),
        dev_loss=ratio(dev.log_loss),
        loss_gain=None if metrics.loss_gain is None else ratio(metrics.loss_gain),
        loss_gain_error=None if metrics.loss_gain_error is None else ratio(metrics.loss_gain_error),
        collapsed=metrics.collapsed,
    )


def _files(manifest: Manifest) -> Iterator[OutputFile]:
    return (part for name, part in manifest.outputs.items() if name.startswith((f"{MODEL}/", f"{FOLDS}/")))
