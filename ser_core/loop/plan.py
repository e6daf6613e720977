"""What happens next to a run: one pure function, used unchanged by `ser run` and by the operator.

    take in reports -> decide -> apply to the status -> actions, events, trimming

No clock, no network, no store: ``now`` is the only time, and all that is known of the stages is what they reported. Planning again on
its own result changes nothing, so an executor may plan as often as it likes, and may die between any two of its steps.
"""

from datetime import UTC, datetime

from ser_core.api.serrun import SERRun
from ser_core.api.status import TERMINAL, Phase, SERRunStatus
from ser_core.loop.deciding.attempts import attempts_of, tries
from ser_core.loop.deciding.faults import nodes_to_avoid
from ser_core.loop.deciding.limits import count_suspension, seconds_left
from ser_core.loop.deciding.reopening import at_rest, reopened, reopened_as_lost
from ser_core.loop.deciding.spent import runs, spent
from ser_core.loop.deciding.stages import key_of, live_attempt, next_stage, stage_spec
from ser_core.loop.deciding.upcoming import unknown_live
from ser_core.loop.deciding.verdict import Verdict, decide
from ser_core.loop.observed import Action, Observed, Plan, StartStage, StopStage
from ser_core.loop.recording.coherence import coherent
from ser_core.loop.recording.conditions import conditions, seen_generation
from ser_core.loop.recording.events import events
from ser_core.loop.recording.progress import progress
from ser_core.loop.recording.reports import seen_of, take_in, with_attempt
from ser_core.loop.recording.trimming import trim
from ser_core.loop.recording.waiting_time import seconds_until_too_long, too_long, waiting_since
from ser_core.loop.text import as_reason, clip, write_time

STOP_AGAIN_SECONDS = 10.0
NOT_THE_LIVE_ATTEMPT = "NotTheLiveAttempt"


def plan(run: SERRun, observed: Observed, now: datetime) -> Plan:
    """What to do now.

    Args:
        run: The run with the status of the last plan.
        observed: All attempts of the run that exist now. It must include every attempt that an earlier plan's actions have started.
        now: Aware; used in whole seconds.
    """
    now = now.astimezone(UTC).replace(microsecond=0)
    before = run.status
    if before.has_ended:
        is_ours = coherent(run, before)
        going_on = reopened(run, now) if is_ours else reopened_as_lost(run)
        if going_on is None:
            stops = _stops(before, observed)
            return Plan(
                stops,
                seen_generation(at_rest(run) if is_ours else before, run.metadata.generation),
                (),
                STOP_AGAIN_SECONDS if stops else None,
            )
        run = run.model_copy(update={"status": going_on})
    status = take_in(run, observed, now)
    verdict = decide(run, status, observed, now)
    status = _apply(verdict, run, status, observed, now)
    stops = _stops(status, observed)
    return Plan(
        actions=(*stops, *_starts(run, status, observed)),
        status=trim(run.spec, status),
        events=events(before, status, as_reason(verdict.reason)),
        requeue_after=STOP_AGAIN_SECONDS if stops else _requeue_after(verdict, run, status, observed, now),
    )


def _apply(verdict: Verdict, run: SERRun, status: SERRunStatus, observed: Observed, now: datetime) -> SERRunStatus:
    status = count_suspension(status, verdict.phase is Phase.SUSPENDED, now)
    if verdict.start is not None:
        status = with_attempt(status, verdict.start, observed)
    live = live_attempt(status)
    key = key_of(live) if live is not None else next_stage(run.spec, status)
    last = status.iterations[-1] if status.iterations else None
    message = clip(verdict.message)
    since = waiting_since(status, verdict.phase, now)
    # What was seen is the progress of the attempt that has just ended.
    shown = progress(status, observed.progress, now) if verdict.start is None else None
    return status.model_copy(
        update={
            "phase": verdict.phase,
            "stage": key.stage if key is not None else None,
            "iteration": max(key.iteration if key is not None else 0, last.iteration if last is not None else 0),
            "learning_status": last.learning_status if last is not None else None,
            "message": message,
            "waiting_since": since,
            "observed_generation": run.metadata.generation,
            "judged": status.judged if observed.refusal else observed.judged,
            "reopened": max(status.reopened, run.spec.reopen),
            "conditions": conditions(
                status.conditions,
                verdict.phase,
                as_reason(verdict.reason),
                message,
                run.metadata.generation,
                write_time(now),
                stalled=verdict.stalled or too_long(since, verdict.phase, now),
            ),
            "progress": shown,
            "finished_at": write_time(now) if verdict.phase in TERMINAL else None,
        }
    )


def _stops(status: SERRunStatus, observed: Observed) -> tuple[Action, ...]:
    """Stop what must not run; asked for again until it is gone."""
    stops: list[Action] = []
    live = live_attempt(status)
    if live is not None and live.reason:
        stops.append(StopStage(live.iteration, live.stage, live.attempt, live.job, live.reason))
    for stray in unknown_live(status, observed):
        stops.append(StopStage(stray.iteration, stray.stage, stray.attempt, stray.job, NOT_THE_LIVE_ATTEMPT))
    return tuple(stops)


def _starts(run: SERRun, status: SERRunStatus, observed: Observed) -> tuple[Action, ...]:
    """Start the live attempt unless it was seen: one that vanished is no longer live."""
    live = live_attempt(status)
    if live is None or seen_of(live, observed) is not None:
        return ()
    avoid = nodes_to_avoid(tries(attempts_of(status, key_of(live))))
    return (StartStage(stage_spec(run, status, live), live.job, seconds_left(run, status, live.gpus), avoid),)


def _requeue_after(verdict: Verdict, run: SERRun, status: SERRunStatus, observed: Observed, now: datetime) -> float | None:
    wishes: list[float | None] = [seconds_until_too_long(status.waiting_since, verdict.phase, now)]
    live = live_attempt(status)
    seen = seen_of(live, observed) if live is not None else None
    if verdict.wait_until is not None:
        wishes.append((verdict.wait_until - now).total_seconds())
    elif live is not None and runs(seen):
        wishes.append(seconds_left(run, status, live.gpus, spent(live.gpus, status.counted, seen, now)))
    return min((wish for wish in wishes if wish is not None), default=None)
