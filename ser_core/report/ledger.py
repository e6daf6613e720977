"""The ledger of a run: every committed stage, read back from the store by name. Works while a run goes on and after it failed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from ser_core.api.serrun import SERRun
from ser_core.api.stage import (
    FilterMetrics,
    LabelMetrics,
    ManifestRef,
    PolicyMetrics,
    PrepareMetrics,
    RetrainMetrics,
    RunIdentity,
    StageMetrics,
    SupervisedMetrics,
)
from ser_core.api.status import StageKind
from ser_core.errors import SpecError, StoreError
from ser_core.loop.deciding.stages import CONTROL_OF_STAGE, POLICY_STAGES, PREPARE, StageKey
from ser_core.loop.recording.digests import recorded_digests, records_all, short_digest
from ser_core.store.objects.port import ObjectStore
from ser_core.store.stages.commit import fetch_outputs, find_manifest
from ser_core.store.stages.manifest import Manifest, manifest_key
from ser_core.store.stages.model_folder import MODEL

Metrics_co = TypeVar("Metrics_co", bound=StageMetrics, covariant=True)
Kind = TypeVar("Kind", PrepareMetrics, LabelMetrics, FilterMetrics, RetrainMetrics, SupervisedMetrics, PolicyMetrics)


@dataclass(frozen=True, slots=True)
class StageRecord(Generic[Metrics_co]):
    """A committed stage and what it measured."""

    key: StageKey
    manifest: Manifest
    ref: ManifestRef
    metrics: Metrics_co

    @property
    def seconds(self) -> float:
        """Wall-clock time of the attempt that committed."""
        begin, end = (datetime.fromisoformat(time) for time in (self.manifest.started_at, self.manifest.finished_at))
        return (end - begin).total_seconds()


Trained = StageRecord[RetrainMetrics]
"""A reward model: the seed model, a loop's, or a control."""
Aligned = StageRecord[PolicyMetrics]
"""The policy after PPO."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A run and its committed stages, in the order in which they ran."""

    run: SERRun
    stages: Mapping[StageKey, StageRecord[StageMetrics]]
    next_step: str = ""
    """What makes the run go on, for hints; empty: nobody has said it."""

    @property
    def prepared(self) -> StageRecord[PrepareMetrics] | None:
        """The data; None while they are being prepared."""
        return next(iter(self._of(PrepareMetrics)), None)

    @property
    def filters(self) -> tuple[StageRecord[FilterMetrics], ...]:
        """What each loop kept."""
        return tuple(self._of(FilterMetrics))

    @property
    def models(self) -> tuple[Trained, ...]:
        """The seed model and those of the loops."""
        return tuple(record for record in self._of(RetrainMetrics) if record.key.stage not in CONTROL_OF_STAGE)

    @property
    def controls(self) -> Mapping[str, Trained]:
        """The controls by name."""
        return {
            CONTROL_OF_STAGE[record.key.stage].value: record for record in self._of(RetrainMetrics) if record.key.stage in CONTROL_OF_STAGE
        }

    @property
    def tuned(self) -> StageRecord[SupervisedMetrics] | None:
        """The fine-tuned policy that PPO started from; None while or where there is none."""
        return next(iter(self._of(SupervisedMetrics)), None)

    @property
    def policy(self) -> Aligned | None:
        """The aligned policy; None while or where there is none."""
        return next(iter(self._of(PolicyMetrics)), None)

    @property
    def best(self) -> Trained | None:
        """The model that the planner calls the best, chosen by labels of the seed alone; None before the seed model is evaluated."""
        return next((model for model in self.models if model.key.iteration == self.run.status.best_iteration), None)

    @property
    def length_rule(self) -> float | None:
        """Held-out accuracy of "the longer answer wins"."""
        models = self.models
        return models[-1].metrics.heldout.length_only_accuracy if models else None

    def best_model(self) -> Trained:
        """`best`.

        Raises:
            SpecError: There is no reward model yet (``NoRewardModel``).
        """
        if self.best is None:
            what = f"run {self.run.metadata.name} has no reward model yet: it is {self.run.status.phase}"
            raise SpecError(what, reason="NoRewardModel", hint=self.next_step or None)
        return self.best

    def model_of(self, loop: int | None) -> Trained:
        """The reward model of a loop; 0: the seed model, None: `best_model`.

        Raises:
            SpecError: That loop has none (``NoSuchLoop``), or there is no reward model yet (``NoRewardModel``).
        """
        if loop is None or not self.models:
            return self.best_model()
        found = next((model for model in self.models if model.key.iteration == loop), None)
        if found is None:
            there = ", ".join(str(model.key.iteration) if model.key.iteration else "0 (the seed model)" for model in self.models)
            what = f"run {self.run.metadata.name} has no reward model of loop {loop}"
            raise SpecError(what, reason="NoSuchLoop", hint=f"there are: {there}")
        return found

    def aligned_policy(self) -> Aligned:
        """`policy`.

        Raises:
            SpecError: There is no aligned policy (``NoPolicy``).
        """
        if self.policy is None:
            wants = self.run.spec.policy is not None
            why = f" yet: it is {self.run.status.phase}" if wants else ": its spec.policy is null"
            hint = self.next_step if wants else "make a run with spec.policy"
            raise SpecError(f"run {self.run.metadata.name} has no aligned policy{why}", reason="NoPolicy", hint=hint or None)
        return self.policy

    def _of(self, kind: type[Kind]) -> Iterator[StageRecord[Kind]]:
        for record in self.stages.values():
            if isinstance(record.metrics, kind):
                yield StageRecord(record.key, record.manifest, record.ref, record.metrics)


def read_ledger(store: ObjectStore, run: SERRun, next_step: str = "") -> Ledger:
    """Read all manifests of a run, each compared with what the run's status says of it. The chain ends at the first stage that is not
    committed.

    Args:
        store: The run's store.
        run: The run.
        next_step: What makes it go on, for hints.

    Raises:
        StoreError: The store cannot be read, or a manifest is damaged, another one than was committed (``InputChanged``) or deleted
            (``ManifestDeleted``).
    """
    stages = _read_all(store, run)
    verified = _verify(store, run, stages)
    if records_all(run.status):  # what the status of an ended run does not know, somebody has put there since
        stages = {key: record for key, record in stages.items() if key in verified}
    return Ledger(run, stages, next_step)


def _verify(store: ObjectStore, run: SERRun, stages: Mapping[StageKey, StageRecord[StageMetrics]]) -> set[StageKey]:
    """Compare manifests with the status, and their inputs with what they say of them. Returns the stages that were compared."""
    waiting = list(recorded_digests(run.status).items())
    verified: set[StageKey] = set()
    while waiting:
        key, digest = waiting.pop()
        record = stages.get(key)
        if record is None:
            gone = _first_gone(run, stages, key)
            place = store.uri(manifest_key(RunIdentity.of(run.metadata), gone.iteration, gone.stage))
            raise StoreError(f"{gone}: {place} was deleted", reason="ManifestDeleted", hint="restore it, or start a new run")
        if short_digest(record.ref.sha256) != digest:
            place = store.uri(manifest_key(RunIdentity.of(run.metadata), key.iteration, key.stage))
            raise StoreError(
                f"{key}: {place} is another one than was committed",
                reason="InputChanged",
                hint="it was changed or replaced: restore it, or start a new run; trust nothing that came from it",
            )
        if key not in verified:
            verified.add(key)
            waiting += [(StageKey(ref.iteration, ref.stage), short_digest(ref.sha256)) for ref in record.manifest.inputs.values()]
    return verified


def _first_gone(run: SERRun, stages: Collection[StageKey], missed: StageKey) -> StageKey:
    """The stage whose manifest is not there: the first of the chain, since nothing behind it was read; or ``missed`` beside the chain."""
    chain = list(_chain(run))
    return missed if stages and missed not in chain else next(key for key in chain if key not in stages)


def _read_all(store: ObjectStore, run: SERRun) -> dict[StageKey, StageRecord[StageMetrics]]:
    stages: dict[StageKey, StageRecord[StageMetrics]] = {}
    for key in _chain(run):
        record = _read(store, run, key)
        if record is None:
            break
        stages[key] = record
    for kind in (*POLICY_STAGES, *CONTROL_OF_STAGE):
        record = _read(store, run, StageKey(0, kind)) if stages else None
        if record is not None:
            stages[record.key] = record
    return stages


def _chain(run: SERRun) -> Iterator[StageKey]:
    yield PREPARE
    yield StageKey(0, StageKind.RETRAIN)
    for iteration in range(1, run.spec.loop.max_iterations + 1):
        for kind in (StageKind.LABEL, StageKind.FILTER, StageKind.RETRAIN):
            yield StageKey(iteration, kind)


def _read(store: ObjectStore, run: SERRun, key: StageKey) -> StageRecord[StageMetrics] | None:
    found = find_manifest(store, RunIdentity.of(run.metadata), key.iteration, key.stage)
    return None if found is None else StageRecord(key, found[0], found[1], found[0].metrics)


def fetch_model(store: ObjectStore, record: StageRecord[StageMetrics], folder: Path) -> Path:
    """Verified local copy of the files of a reward model or policy. Returns their folder.

    Raises:
        StoreError: The files cannot be read, or differ from their manifest.
        SpecError: `storage.retain: best` has removed them (``ModelRemoved``).
    """
    names = [name for name in record.manifest.outputs if name.startswith(f"{MODEL}/")]
    fetch_outputs(store, record.manifest, names, folder)
    return folder / MODEL
