"""What a run does now: one verdict, from the status after all reports were taken in."""

from dataclasses import dataclass
from datetime import datetime

from ser_core.api.serrun import SERRun
from ser_core.api.stage import NOT_TAKEN_OVER, TAKEN_OVER
from ser_core.api.status import IterationStatus, Phase, PolicyStatus, RewardModelStatus, SERRunStatus, StageStatus
from ser_core.counted import counted
from ser_core.loop.deciding.attempts import attempts_of, failure, longest_pause, next_attempt, tries
from ser_core.loop.deciding.faults import Fault, fault_of, held_by_queue, stalls_at_once
from ser_core.loop.deciding.limits import BUDGET_EXCEEDED, DEADLINE_EXCEEDED, why_to_stop
from ser_core.loop.deciding.significance import FEW_GROUPS
from ser_core.loop.deciding.stages import StageKey, committed, ending_stage, key_of, live_attempt, loops_ended, next_stage, skipped_controls
from ser_core.loop.deciding.stopping import does_not_hold, loop_name
from ser_core.loop.deciding.token_budget import computes_in_batches, halved
from ser_core.loop.deciding.upcoming import unknown_live, upcoming_attempt
from ser_core.loop.observed import Observed, Waiting
from ser_core.loop.text import decimals, write_time

NOT_ALLOWED = "NotAllowed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The run's phase, why, and what to start."""

    phase: Phase
    reason: str
    message: str
    start: StageStatus | None = None
    wait_until: datetime | None = None
    """End of the pause before the next attempt."""
    stalled: bool = False
    """True when it will not go on by itself although the run has not ended."""


def decide(run: SERRun, status: SERRunStatus, observed: Observed, now: datetime) -> Verdict:
    """The first that applies: an attempt lives; all is done; a stage has failed; something forbids a start; start the next attempt."""
    live = live_attempt(status)
    if live is not None:
        return _while_live(live, observed.waiting)
    key = next_stage(run.spec, status)
    if key is None:
        return Verdict(Phase.COMPLETED, "Completed", _summary(run, status))
    failed = failure(attempts_of(status, key), run.spec.retries)
    if failed is not None:
        return Verdict(Phase.FAILED, failed.reason, f"{key}: {failed.message}")
    return _forbidden(run, status, observed) or _blocked(key, observed) or _start(run, status, now)


def _while_live(live: StageStatus, waiting: Waiting | None = None) -> Verdict:
    name = f"{key_of(live)}, attempt {live.attempt}"
    if live.reason and not (waiting and waiting.stalled):
        return Verdict(Phase.RUNNING, "Stopping", f"stopping {name}: {live.reason}")
    if waiting is not None and waiting.starting:
        return Verdict(Phase.RUNNING, "Running", f"{name}, has not started yet: {waiting.message}")
    if waiting is not None:
        phase = Phase.QUEUED if held_by_queue(waiting.reason) else Phase.WAITING
        return Verdict(phase, waiting.reason, f"{name} waits: {waiting.message}", stalled=waiting.stalled)
    return Verdict(Phase.RUNNING, "Running", f"{name} looks for its manifest" if live.mode == "report" else name)


def _forbidden(run: SERRun, status: SERRunStatus, observed: Observed) -> Verdict | None:
    why = why_to_stop(run, status)
    if why == DEADLINE_EXCEEDED:
        return Verdict(Phase.FAILED, why, f"its stages have run for activeDeadline {run.spec.active_deadline}: raise it to go on")
    if observed.refusal:
        return Verdict(Phase.FAILED, NOT_ALLOWED, observed.refusal)
    strays = unknown_live(status, observed)
    if strays:
        return Verdict(Phase.RUNNING, "Stopping", f"waiting for {strays[0].job} to end, which no longer belongs to the run")
    if why == BUDGET_EXCEEDED and run.spec.budget is not None:
        spent = f"{decimals(status.gpu_hours)} of {run.spec.budget.gpu_hours:g} GPU-hours"
        return Verdict(Phase.BUDGET_EXCEEDED, why, f"{spent} are spent: raise budget.gpuHours to go on")
    return Verdict(Phase.SUSPENDED, why, "set suspend to false to go on") if why else None


def _blocked(key: StageKey, observed: Observed) -> Verdict | None:
    why = observed.blocked
    return None if why is None else Verdict(Phase.WAITING, why.reason, f"{key} cannot start: {why.message}", stalled=why.stalled)


def _start(run: SERRun, status: SERRunStatus, now: datetime) -> Verdict:
    upcoming = upcoming_attempt(run, status, now)
    assert upcoming is not None, "decide() has ruled out a live attempt, completion and failure"
    rows = attempts_of(status, key_of(upcoming))
    pause = next_attempt(rows, run.spec.retries).not_before
    # One that would be longer than any was begun by a clock that has gone back since, or by another one that is wrong.
    if pause is not None and now < pause <= now + longest_pause(run.spec.retries):
        return _pausing(upcoming, tries(rows)[-1], pause, begun=bool(committed(status)))
    running = _while_live(upcoming)
    return Verdict(running.phase, running.reason, running.message, start=upcoming)


def _pausing(upcoming: StageStatus, last: StageStatus, until: datetime, *, begun: bool) -> Verdict:
    """The pause after ``last``. After a fault of the world the run waits, for that reason; ``begun``: a stage of it is committed."""
    changed = " with half of training.tokensPerBatch" if halved((last,)) and computes_in_batches(upcoming.stage) else ""
    begins = f"{key_of(upcoming)}: attempt {upcoming.attempt} starts at {write_time(until)}{changed}"
    message = f"{begins}, after {last.reason}: {last.message}"
    if fault_of(last) is Fault.WORLD:
        return Verdict(Phase.WAITING, last.reason, message, wait_until=until, stalled=stalls_at_once(last, begun=begun))
    return Verdict(Phase.RUNNING, "Pausing", message, wait_until=until)


def _summary(run: SERRun, status: SERRunStatus) -> str:
    """Which reward model is the best, why the loops ended and on what evidence, what the policy reached, and what was left out."""
    best = status.iterations[status.best_iteration or 0]
    name = f"{loop_name(best)}{does_not_hold(best)}"
    parts = [f"best reward model: {name}, {_heldout(status.iterations[0], best)}{_few_groups(status.reward_model)}"]
    ended = loops_ended(run.spec.loop, status)
    if ended is not None:
        said = _evidence(committed(status).get(ending_stage(status)))
        parts.append(f"{ended.message} ({said})" if said else ended.message)
    if status.policy is not None:
        parts.append(_policy_summary(status.policy))
    parts += [f"control {control.value} left out: the pool was never labelled" for control in skipped_controls(run.spec.loop, status)]
    return "; ".join(parts)


def _evidence(row: StageStatus | None) -> str:
    """What a stage says that its decision rests on, without what came of `spec.from`, which stands in front."""
    if row is None:
        return ""
    return row.message.partition("; ")[2] if row.reason in (TAKEN_OVER, NOT_TAKEN_OVER) else row.message


def _heldout(seed: IterationStatus, best: IterationStatus) -> str:
    """Held-out accuracy with its interval, and that of the seed model where it is another one."""
    text = f"held-out accuracy {best.accuracy or 0.0:.4f}"
    if best.accuracy_low is not None and best.accuracy_high is not None:
        text += f" (95 % interval {best.accuracy_low:.3f} to {best.accuracy_high:.3f})"
    if best.iteration == seed.iteration or best.accuracy is None or seed.accuracy is None:
        return text
    behind = ", which is more: see ser report" if seed.accuracy > best.accuracy else ""
    return f"{text}, the seed model's {seed.accuracy:.4f}{behind}"


def _few_groups(model: RewardModelStatus | None) -> str:
    """That its interval rests on too little; empty: on enough, or it is not known on what."""
    if model is None or model.groups is None or model.groups >= FEW_GROUPS:
        return ""
    return f" ({counted(model.groups, 'group')} of held-out pairs: of fewer than {FEW_GROUPS} no interval is to be trusted)"


def _policy_summary(policy: PolicyStatus) -> str:
    stopped = f", stopped by {policy.stopped}" if policy.stopped else ""
    change = f"score on held-out prompts {policy.baseline_score:.3f} to {policy.score:.3f}"
    return f"policy: {change}, KL {policy.kl:.3g} nats, after {policy.steps} PPO steps{stopped}"
