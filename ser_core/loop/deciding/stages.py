"""The chain of stages: which one is next, what it reads, and how its process is told (docs/architecture.md, "Inputs of a stage")."""

import hashlib
import json
from dataclasses import dataclass

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import Control, LoopSpec, Rule
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.resources import StageResources
from ser_core.api.stage import InputRole, ManifestRef, Processes, RunIdentity, StageSpec
from ser_core.api.status import LearningStatus, Outcome, SERRunStatus, StageKind, StageStatus
from ser_core.api.values.amounts import MOST_CPUS
from ser_core.api.values.quantity import quantity
from ser_core.loop.deciding.stopping import Ending, ending, rolls_back
from ser_core.loop.deciding.token_budget import halved, with_half_batches

JOB_NAME_LENGTH = 56
"""A name must be a DNS label (63); the rest is room for the pod index that Kubernetes appends to it."""

STAGE_OF_CONTROL = {
    Control.FULL: StageKind.CONTROL_FULL,
    Control.SEED_ONLY: StageKind.CONTROL_SEED_ONLY,
    Control.PSEUDO_LABEL_ONCE: StageKind.CONTROL_PSEUDO_LABEL_ONCE,
}
CONTROL_OF_STAGE = {stage: control for control, stage in STAGE_OF_CONTROL.items()}
POLICY_STAGES = (StageKind.SFT, StageKind.PPO)
_READ_BEFORE = ((StageKind.LABEL, Rule.REFERENCE), (StageKind.RETRAIN, Rule.PAPER))
"""What trains on or leaves out the kept pairs of the loop before. Every filter only compares its labels with it."""


@dataclass(frozen=True, slots=True)
class StageKey:
    """A stage of a run; its attempts come and go."""

    iteration: int
    stage: StageKind

    def __str__(self) -> str:
        if self.stage in (StageKind.LABEL, StageKind.FILTER) or (self.stage is StageKind.RETRAIN and self.iteration):
            return f"{self.stage.value} of loop {self.iteration}"
        return "retrain of the seed model" if self.stage is StageKind.RETRAIN else self.stage.value


PREPARE = StageKey(0, StageKind.PREPARE)
LABEL_1 = StageKey(1, StageKind.LABEL)
SEED_MODEL = StageKey(0, StageKind.RETRAIN)
SFT = StageKey(0, StageKind.SFT)
PPO = StageKey(0, StageKind.PPO)


def key_of(row: StageStatus) -> StageKey:
    """The stage that an attempt belongs to."""
    return StageKey(row.iteration, row.stage)


def committed(status: SERRunStatus) -> dict[StageKey, StageStatus]:
    """The committed stages that the status remembers."""
    return {key_of(row): row for row in status.stages if row.outcome is Outcome.DONE}


def frozen_image(status: SERRunStatus, offered: str) -> str:
    """Image of the next attempt: what is offered now, and from the first commit on always the same."""
    return status.image if PREPARE in committed(status) else offered


def live_attempt(status: SERRunStatus) -> StageStatus | None:
    """The attempt that has not ended, if any."""
    return next((row for row in status.stages if row.outcome is Outcome.RUNNING), None)


def next_stage(spec: SERRunSpec, status: SERRunStatus) -> StageKey | None:
    """The first stage that is not committed; None when the run is complete.

    The policy comes before the controls: it is what the run is for, and they only measure.
    """
    if PREPARE not in committed(status):
        return PREPARE
    if not status.iterations:
        return SEED_MODEL
    if loops_ended(spec.loop, status) is None:
        return _next_of_loop(status)
    controls = [StageKey(0, STAGE_OF_CONTROL[control]) for control in waiting_controls(spec.loop, status)]
    return next(iter([*_waiting_for_policy(spec.policy, status), *controls]), None)


def _next_of_loop(status: SERRunStatus) -> StageKey:
    last = status.iterations[-1]
    if last.dev_accuracy is None:
        return StageKey(last.iteration, StageKind.RETRAIN)
    label = StageKey(last.iteration + 1, StageKind.LABEL)
    return StageKey(label.iteration, StageKind.FILTER) if label in committed(status) else label


def _waiting_for_policy(policy: PolicySpec | None, status: SERRunStatus) -> tuple[StageKey, ...]:
    """The stages of the policy that are still to be carried out."""
    wanted = () if policy is None else (PPO,) if policy.sft is None else (SFT, PPO)
    done = committed(status)
    return () if PPO in done else tuple(key for key in wanted if key not in done)


def loops_ended(loop: LoopSpec, status: SERRunStatus) -> Ending | None:
    """Why no loop follows; None while they go on.

    Once the policy has begun they are over, even if maxIterations is raised then. Controls that have begun are finished before another
    loop.
    """
    if not status.iterations:
        return None
    last = status.iterations[-1]
    if last.learning_status is not LearningStatus.STOP and last.dev_accuracy is None:
        return None
    reason = ending(loop, status.iterations)
    if reason is None and any(row.stage in POLICY_STAGES for row in status.stages):
        reason = Ending("PolicyBegun", "the policy has begun")
    controls_begun = status.controls or any(row.stage in CONTROL_OF_STAGE for row in status.stages)
    controls_wait = controls_begun and waiting_controls(loop, status)
    return reason or (Ending("ControlsBegun", "the controls have begun") if controls_wait else None)


def ending_stage(status: SERRunStatus) -> StageKey:
    """The stage whose result ended the loops: the filter that found too little to trust, else the last retrain."""
    last = status.iterations[-1]
    return StageKey(last.iteration, StageKind.FILTER if last.learning_status is LearningStatus.STOP else StageKind.RETRAIN)


def waiting_controls(loop: LoopSpec, status: SERRunStatus) -> tuple[Control, ...]:
    """The controls that are still to be trained, in their order."""
    done = {control.control for control in status.controls}
    skipped = skipped_controls(loop, status)
    return tuple(control for control in loop.controls if control.value not in done and control not in skipped)


def skipped_controls(loop: LoopSpec, status: SERRunStatus) -> tuple[Control, ...]:
    """The controls that cannot be trained: pseudoLabelOnce when the pool was never labelled by the seed model."""
    done = {control.control for control in status.controls}
    once = Control.PSEUDO_LABEL_ONCE
    missing = once in loop.controls and once.value not in done and LABEL_1 not in committed(status)
    return (once,) if missing else ()


def labeling_iteration(loop: LoopSpec, status: SERRunStatus, iteration: int) -> int:
    """Iteration of the reward model that labels in loop ``iteration``."""
    if rolls_back(loop, status.iterations) and status.best_iteration is not None:
        return status.best_iteration
    return iteration - 1


def inputs_of(key: StageKey, spec: SERRunSpec, status: SERRunStatus) -> dict[InputRole, StageKey]:
    """What a stage reads, by role."""
    if key.stage is StageKind.PREPARE:
        return {}
    inputs = {InputRole.PREPARED: PREPARE}
    if key.stage in CONTROL_OF_STAGE:
        if key.stage is StageKind.CONTROL_PSEUDO_LABEL_ONCE:
            inputs[InputRole.LABELS] = LABEL_1
        inputs[InputRole.BEST] = _best(status)
    elif key == PPO:
        inputs |= _inputs_of_ppo(spec.policy, status)
    elif key.iteration > 0:
        inputs |= _inputs_in_loop(key, spec.loop, status)
    return inputs


def _inputs_of_ppo(policy: PolicySpec | None, status: SERRunStatus) -> dict[InputRole, StageKey]:
    inputs = {InputRole.BEST: _best(status)}
    if status.best_iteration:
        inputs[InputRole.WITNESS] = SEED_MODEL
    if policy is not None and policy.sft is not None:
        inputs[InputRole.POLICY] = SFT
    return inputs


def _inputs_in_loop(key: StageKey, loop: LoopSpec, status: SERRunStatus) -> dict[InputRole, StageKey]:
    labeler = StageKey(labeling_iteration(loop, status, key.iteration), StageKind.RETRAIN)
    inputs = {InputRole.LABELER: labeler}
    if key.stage is StageKind.FILTER:
        inputs[InputRole.LABELS] = StageKey(key.iteration, StageKind.LABEL)
    if key.stage is StageKind.RETRAIN:
        inputs[InputRole.KEPT] = StageKey(key.iteration, StageKind.FILTER)
        inputs[InputRole.BEST] = _best(status)
    before = StageKey(key.iteration - 1, StageKind.FILTER)
    is_compared = key.stage is StageKind.FILTER and before in committed(status)  # a run that version 0.1.0 has ended may have forgotten it
    if key.iteration > 1 and (is_compared or (key.stage, loop.rule) in _READ_BEFORE):
        inputs[InputRole.KEPT_BEFORE] = before
    return inputs


def _best(status: SERRunStatus) -> StageKey:
    return StageKey(status.best_iteration or 0, StageKind.RETRAIN)


def seed_only_steps(status: SERRunStatus) -> int | None:
    """Steps of the seedOnly control: as many as the best loop took, else the last loop; None (its own) when no loop trained."""
    trained = {key.iteration: row for key, row in committed(status).items() if key.stage is StageKind.RETRAIN and key.iteration > 0}
    row = trained.get(status.best_iteration or 0) or trained.get(max(trained, default=0))
    return None if row is None else row.steps


def stage_spec(run: SERRun, status: SERRunStatus, attempt: StageStatus) -> StageSpec:
    """What the process of ``attempt`` is told."""
    key = key_of(attempt)
    done = committed(status)
    wanted = resources(run, key.stage)
    half = halved(row for row in status.stages if key_of(row) == key)
    spec = run.spec.model_copy(update={"reopen": 0})  # no stage reads it, and an older one does not know it
    return StageSpec(
        run=RunIdentity.of(run.metadata),
        stage=attempt.stage,
        iteration=attempt.iteration,
        attempt=attempt.attempt,
        mode="report" if attempt.mode == "report" else "execute",
        spec=with_half_batches(spec, key.stage, gpus=wanted.gpus) if half else spec,
        inputs={role: _manifest(done[source]) for role, source in inputs_of(key, run.spec, status).items()},
        steps=seed_only_steps(status) if key.stage is StageKind.CONTROL_SEED_ONLY else None,
        threads=_threads(wanted) or max(status.threads, 1),
        processes=None if spec.from_ is None else Processes(count=wanted.nodes * max(1, wanted.gpus), on_gpus=wanted.gpus > 0),
    )


def _threads(wanted: StageResources) -> int | None:
    """Threads of one process: each GPU of a pod has one. None when no CPUs are named."""
    cpus = whole_cpus(wanted)
    return None if cpus is None else max(1, cpus // max(1, wanted.gpus))


def _manifest(row: StageStatus) -> ManifestRef:
    return ManifestRef(stage=row.stage, iteration=row.iteration, uri=row.manifest or "", sha256=row.manifest_sha256 or "")


def resources(run: SERRun, stage: StageKind) -> StageResources:
    """Resources of a stage; a control is a retrain."""
    found: StageResources = getattr(run.spec.resources, resource_kind(stage))
    return found


def resource_kind(stage: StageKind) -> str:
    """Name of a stage's field in ``resources``."""
    return (StageKind.RETRAIN if stage in CONTROL_OF_STAGE else stage).value


def whole_cpus(wanted: StageResources) -> int | None:
    """CPUs of a pod, rounded down but at least 1; None when none are named. ``2500m`` is 2. What no machine has counts as the most."""
    if wanted.cpu is None:
        return None
    return max(1, min(MOST_CPUS, int(quantity(wanted.cpu))))


def job_name(run: SERRun, key: StageKey, attempt: int) -> str:
    """Name of the Job or process of an attempt: readable, at most 56 characters, a DNS label.

    The hash alone tells attempts apart: it depends on the run's UID, so a re-created run of the same name never meets its namesake's Jobs.
    """
    identity = json.dumps([run.metadata.uid, key.iteration, key.stage.value, attempt]).encode()
    suffix = f"-{key.iteration}-{key.stage.value}-{hashlib.sha256(identity).hexdigest()[:10]}"
    prefix = f"ser-{run.metadata.name.replace('.', '-')}"
    return prefix[: JOB_NAME_LENGTH - len(suffix)].rstrip("-") + suffix
