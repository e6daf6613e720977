"""Why a run is in its current state: cause, evidence, fix. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import FOLDS, Rule
from ser_core.api.spec.training import CPU_TOKENS_PER_BATCH
from ser_core.api.status import LearningStatus, Outcome, Phase, SERRunStatus, StageStatus
from ser_core.cli.access.cluster import RUN_UID
from ser_core.cli.access.runner import Seen
from ser_core.cli.views.evolution_view import doubts
from ser_core.cli.views.live_pods import begun_by, has_started, unnoticed_end
from ser_core.cli.views.remedies.lookup import remedy_of
from ser_core.cli.views.remedies.remedy import Remedy, Then
from ser_core.cli.views.runner_line import is_left, left_by, runner_line
from ser_core.cli.views.status_view import elapsed, event_time
from ser_core.loop.deciding.coin import COIN
from ser_core.loop.deciding.learning_status import EQUAL_SCORES, SO_THAT_SCORES_DIFFER, has_learnt_nothing
from ser_core.loop.deciding.reopening import is_reopened
from ser_core.loop.deciding.stages import key_of, live_attempt, resource_kind
from ser_core.loop.deciding.token_budget import computes_in_batches

_SLOW_START = timedelta(minutes=2)
"""Then most images are there, and an operator has told what else a pod waits for."""


@dataclass(frozen=True, slots=True)
class Why:
    """The answer."""

    cause: str
    evidence: str
    fix: str


def carried_out(told: Why, run: SERRun, seen: Seen | None, target: str) -> Why:
    """The answer for a run of this machine, with who works on it. Pure."""
    if is_left(run, seen):
        return Why("the run stopped without ending", f"{left_by(seen)}; before: {told.evidence}", f"go on: ser run {target}")
    line = runner_line(run, seen, target)
    return replace(told, evidence=f"{told.evidence}; {line}") if line else told


def explain(
    run: SERRun,
    events: Sequence[Mapping[str, Any]],
    now: datetime,
    target: str,
    *,
    on_cluster: bool,
    pods: Sequence[Mapping[str, Any]] | None = None,
) -> Why:
    """Why a run is in its current state. Pure.

    Args:
        run: The run.
        events: Events of the run itself; of the pods the operator has read already what they wait for.
        now: For how long a stage has been running.
        target: What the user named the run by, for commands.
        on_cluster: Whether an operator carries it out, or `ser run`.
        pods: Those of its stages; None: not known.
    """
    status = run.status
    if on_cluster and status.observed_generation < run.metadata.generation:
        return _unseen(run, events)
    if not status.conditions or (not on_cluster and is_reopened(run)):
        begun = "the run was reopened, and no ser run has gone on with it yet" if status.conditions else "the run has not begun"
        return Why(begun, status.message or "no stage was ever started", f"start it: ser run {target}")
    if status.phase is Phase.COMPLETED:
        return _completed(run, target)
    reason = next((condition.reason for condition in status.conditions if condition.type == "Ready"), status.conditions[0].reason)
    failed = _last_failure(status)
    if reason == "Running":
        return _running(run, failed, pods, now, target)
    if reason == "Pausing" and failed is not None:
        remedy = remedy_of(failed.reason, failed.exit_code)
        return Why(f"{remedy.cause}; the next attempt begins by itself", status.message, _filled(remedy, run, on_cluster=on_cluster))
    exit_code = failed.exit_code if failed is not None and status.phase is Phase.FAILED else None
    remedy = remedy_of(reason, exit_code)
    fix = _filled(remedy, run, on_cluster=on_cluster)
    interrupted = status.phase is Phase.SUSPENDED and not on_cluster and not run.spec.suspend
    told = Why(remedy.cause, f"{reason}: {status.message}", f"{fix}{_then(run, target, remedy.then, on_cluster=on_cluster)}")
    return _interrupted(told, run, failed) if interrupted else told


def _interrupted(told: Why, run: SERRun, failed: StageStatus | None) -> Why:
    """The answer after Ctrl-C. What the run waited for until then is still there."""
    cause = "ser run was interrupted, by Ctrl-C or SIGTERM"
    if failed is None or failed.outcome is Outcome.INTERRUPTED or failed != run.status.stages[-1]:
        return replace(told, cause=cause)
    remedy = remedy_of(failed.reason, failed.exit_code)
    fix = f"{_filled(remedy, run, on_cluster=False)}; then {told.fix}"
    return Why(f"{cause}; before, {remedy.cause}", f"{told.evidence}; {failed.reason}: {failed.message}", fix)


def _unseen(run: SERRun, events: Sequence[Mapping[str, Any]]) -> Why:
    seen = run.status.observed_generation
    what = "the run" if not seen else f"the change of the spec (generation {run.metadata.generation}, seen {seen})"
    last = max(events, key=event_time, default=None)
    told = f"; last event: {last.get('reason')}: {last.get('message')}" if last is not None else "; it has no events"
    evidence = f"status.observedGeneration is {seen}, of {run.metadata.generation}{told}"
    return Why(f"no operator has looked at {what} yet", evidence, _see_the_operator(run))


def _see_the_operator(run: SERRun) -> str:
    of_class = f" of class {run.spec.operator_class}" if run.spec.operator_class else ""
    pods = "kubectl get pods -A -l app.kubernetes.io/name=ser-operator"
    namespace = run.metadata.namespace
    return f"check that an operator{of_class} runs ({pods}) and watches namespace {namespace} (watchNamespaces of its chart)"


def _to_trust_more(spec: SERRunSpec) -> str:
    if spec.loop.rule is Rule.PAPER:
        return "more seed labels, or in a new run a lower loop.thresholds.minSamples"
    if spec.loop.rule is Rule.REFERENCE:
        return "more seed labels, or in a new run a lower loop.thresholds.delta"
    if spec.loop.thresholds.target_precision is None:
        return "more pairs to label, or in a new run a lower training.pairsPerStep"
    return "more seed labels, or in a new run a lower loop.thresholds.targetPrecision"


_AS_A_COIN = (
    "more held-out pairs show more; in a new run more seed labels or more training make a better model: "
    "more training.epochs, fewer training.pairsPerStep, or training.search for the rate"
)
_OPPOSITE_OF_THE_SEED = (
    "compare labels of held-out pairs with those of the seed: in one of them the better answer may stand as the worse one, "
    "since it has learnt the opposite of what is held out"
)
_OPPOSITE_OF_ITS_SOURCE = f"see in ser report, under Length bias, whether it goes by the length of an answer; {_AS_A_COIN}"
"""Held-out pairs and seed are of one source, so that their labels cannot be opposite."""


def _completed(run: SERRun, target: str) -> Why:
    status = run.status
    last = status.iterations[-1] if status.iterations else None
    best = status.best
    if best is not None and best.collapsed:
        cause = "the run has ended, and the training of its best reward model collapsed each time"
        fix = f"in a new run {SO_THAT_SCORES_DIFFER}"
    elif last is not None and last.learning_status is LearningStatus.STOP:
        cause = f"the run has ended: in loop {last.iteration} too few self-labels could be trusted"
        fix = f"if that is too early: {_to_trust_more(run.spec)}"
        if has_learnt_nothing(status.iterations):
            cause = f"the run has ended: {EQUAL_SCORES}, so no self-label could be trusted"
            fix = f"in a new run {SO_THAT_SCORES_DIFFER}"
    elif status.policy is not None and status.policy.stopped:
        cause = f"the run has ended; PPO stopped early, since {status.policy.stopped} is a sign that the policy games the reward model"
        fix = "the policy of the last good step was kept; in a new run a larger policy.kl.coefficient or fewer policy.steps go less far"
    elif told := doubts(status):
        cause = f"the run has ended, and of its best reward model: {told}"
        fix = _AS_A_COIN if best is None or best.accuracy_high is None or best.accuracy_high >= COIN else _worse_than_a_coin(run.spec)
    elif not status.best_iteration:
        cause = "the run has ended, and no loop beat the seed model on the dev pairs"
        fix = "more seed labels make a better seed model; ser report shows what was kept and how often it was right"
        if any(row.collapsed for row in status.iterations):
            cause, fix = f"{cause} with a model that holds", f"in a new run {SO_THAT_SCORES_DIFFER}"
    elif _is_behind_the_seed_model(status):
        cause = (
            "the run has ended, and its best reward model is right on fewer held-out pairs than the seed model; such pairs decide nothing"
        )
        fix = f"ser report says whether it may be chance; in a new run more seed labels{_or_more_folds(run.spec)} choose better"
        fix += f"; ser export {target} FOLDER --loop 0 takes the seed model" if run.spec.storage.retain == "all" else ""
    else:
        cause, fix = "the run has ended as it should", "nothing to do; ser evolution and ser report show the results"
    cut = f"; the whole text: ser report {target}" if "…" in status.message else ""
    return Why(cause, f"{status.message}{cut}", fix)


def _worse_than_a_coin(spec: SERRunSpec) -> str:
    return _OPPOSITE_OF_ITS_SOURCE if spec.data.source else _OPPOSITE_OF_THE_SEED


def _or_more_folds(spec: SERRunSpec) -> str:
    folds = spec.loop.fold_count
    return f", or {FOLDS} loop.folds in place of {folds}," if folds is not None and folds < FOLDS else ""


def _is_behind_the_seed_model(status: SERRunStatus) -> bool:
    accuracy = {row.iteration: row.accuracy for row in status.iterations}
    best, seed = accuracy.get(status.best_iteration or 0), accuracy.get(0)
    return best is not None and seed is not None and best < seed


def _running(run: SERRun, failed: StageStatus | None, pods: Sequence[Mapping[str, Any]] | None, now: datetime, target: str) -> Why:
    status = run.status
    live, watch = live_attempt(status), f"watch it: ser status {target} --watch"
    if live is None:
        return Why("nothing is wrong: the next stage is being started", status.message, watch)
    since = f"{key_of(live)}, attempt {live.attempt}, since {elapsed(live.started_at, None, now)}"
    progress = status.progress
    if progress is not None:
        since += f", {progress.percent} % ({progress.step:,} of {progress.total:,} {progress.unit})"
    if failed is not None and key_of(failed) == key_of(live):
        since += f"; attempt {failed.attempt} ended with {failed.reason}{f': {failed.message}' if failed.message else ''}"
    if pods is not None and (unnoticed := unnoticed_end(live, pods, now)):
        return Why("the stage has ended, and no operator has taken note of it", f"{since}; {unnoticed}", _see_the_operator(run))
    if pods is None or has_started(live, pods):
        return Why("nothing is wrong: a stage is running", since, watch)
    see = f"see its pod: kubectl describe pods -n {run.metadata.namespace} -l {RUN_UID}={run.metadata.uid}; and {_see_the_operator(run)}"
    fix = see if begun_by(live, now - _SLOW_START) else watch
    return Why("nothing is wrong so far: the stage's pod has not started yet", since, fix)


def _last_failure(status: SERRunStatus) -> StageStatus | None:
    ended = [row for row in status.stages if row.outcome in (Outcome.FAILED, Outcome.LOST, Outcome.INTERRUPTED)]
    return ended[-1] if ended else None


def _filled(remedy: Remedy, run: SERRun, *, on_cluster: bool) -> str:
    live = live_attempt(run.status)
    stage = live.stage if live is not None else run.status.stage
    fix = remedy.fix if on_cluster or not remedy.here else remedy.here
    if stage is not None and not computes_in_batches(stage):
        fix = remedy.without_batches or fix
    tokens = min(run.spec.training.tokens_per_batch, CPU_TOKENS_PER_BATCH)
    return fix.replace("{resources}", resource_kind(stage) if stage is not None else "<stage>").replace("{tokens}", str(tokens))


def _then(run: SERRun, target: str, then: Then, *, on_cluster: bool) -> str:
    """What makes the run go on once the cause is gone; empty when it goes on by itself."""
    if run.status.phase is Phase.FAILED:
        again = _again(run, target, then, on_cluster=on_cluster)
        return f"; {again}" if again else ""
    if run.status.phase is Phase.SUSPENDED and on_cluster:
        return f": ser resume {target}"
    if run.status.phase is Phase.SUSPENDED:
        return f": {f'remove suspend: true from {target}, then ' if run.spec.suspend else ''}ser run {target}"
    if run.status.phase is Phase.BUDGET_EXCEEDED and not on_cluster:
        return f": ser run {target}"
    return ""


def _again(run: SERRun, target: str, then: Then, *, on_cluster: bool) -> str:
    """What makes a failed run go on; empty: the changed field alone."""
    start = "" if on_cluster else f"ser run {target}"
    if then is Then.CHANGE:
        return f"then {start}" if start else ""
    if then is Then.ITSELF and on_cluster:
        return f"if it does not go on by itself: ser retry {target}"
    if then is Then.ITSELF:
        return f"then {start}; if nothing was changed in the file, ser retry {target} before it"
    if then is Then.ANEW:
        name = f"-n {run.metadata.namespace} {run.metadata.name}"
        anew = f"kubectl delete serrun {name} and apply it again" if on_cluster else f"ser purge {target} and {start}"
        return f"a started run keeps this, so give the new one another metadata.name, or {anew}"
    return f"then ser retry {target}{f' and {start}' if start else ''}"
