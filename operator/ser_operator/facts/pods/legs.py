"""When the pods of each Job ran: what deadline and budget count. Pods that are gone are remembered while their Job is there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ser_core.loop.observed import Leg
from ser_operator.facts.reading import Object, at, conditions, created_at, deleting_since, moment, owner_uid, started_at, terminated, uid

_A_YEAR = timedelta(days=365)
"""No container runs longer: what says so is a clock that was set meanwhile."""


class Legs:
    """The legs of all pods whose container has begun to run.

    Args:
        clock: The time; the end of a pod that is gone and never said when it ended.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._legs: dict[str, dict[str, Leg]] = {}
        """By the UIDs of the Job and of the pod."""

    def of(self, job_uid: str) -> tuple[Leg, ...]:
        """Of a Job's pods."""
        return tuple(self._legs.get(job_uid, {}).values())

    def see(self, pod: Object) -> None:
        """Take in a version of a pod. What a later one no longer tells, as of a node that is lost, stays known."""
        known = self._legs.get(owner_uid(pod), {}).get(uid(pod))
        begin = known.begin if known is not None else begun_at(pod, self._clock())
        if begin is not None:
            self._legs.setdefault(owner_uid(pod), {})[uid(pod)] = Leg(
                begin, ended_at(pod, begin) or (known.end if known is not None else None)
            )

    def lose(self, pod: Object) -> None:
        """A pod is gone; this is its last version."""
        self.see(pod)
        leg = self._legs.get(owner_uid(pod), {}).get(uid(pod))
        if leg is not None:
            now = self._clock()
            end = leg.end or min(deleting_since(pod) or now, now)
            self._legs[owner_uid(pod)][uid(pod)] = replace(leg, end=end, gone=True)

    def forget(self, job_uid: str) -> None:
        """Drop the legs of a Job."""
        self._legs.pop(job_uid, None)


def pods_at_once(job: Object) -> int:
    """How many pods a Job has at once."""
    number = at(job, "spec").get("completions")
    return number if isinstance(number, int) and number > 0 else 1


def begun_at(pod: Object, now: datetime) -> datetime | None:
    """When the container began. The clock of a node may be wrong: no pod runs before it is made, nor later than it is seen to."""
    begin = started_at(pod)
    return None if begin is None else max(min(begin, now), created_at(pod) or begin)


def ended_at(pod: Object, begin: datetime) -> datetime | None:
    """When the container ended; of a pod that was ended from outside (its node is lost), when the pod changed last."""
    started, finished = started_at(pod), moment(terminated(pod).get("finishedAt"))
    if started is not None and finished is not None:
        return begin + min(max(finished - started, timedelta()), _A_YEAR)  # a clock that is wrong still tells how long it was
    if at(pod, "status").get("phase") not in ("Failed", "Succeeded"):
        return None
    return max((when for one in conditions(pod) if (when := moment(one.get("lastTransitionTime"))) is not None), default=None)
