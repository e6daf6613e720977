"""When the pods of each Job ran: what deadline and budget count. Pods that are gone are remembered while their Job is there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from ser_core.loop.observed import Leg
from ser_operator.facts.reading import Object, at, conditions, deleting_since, moment, owner_uid, started_at, terminated, uid


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
        begin = known.begin if known is not None else started_at(pod)
        if begin is not None:
            self._legs.setdefault(owner_uid(pod), {})[uid(pod)] = Leg(begin, _ended(pod) or (known.end if known is not None else None))

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


def _ended(pod: Object) -> datetime | None:
    """When the container ended; of a pod that was ended from outside (its node is lost), when the pod changed last."""
    if (end := moment(terminated(pod).get("finishedAt"))) is not None:
        return end
    if at(pod, "status").get("phase") not in ("Failed", "Succeeded"):
        return None
    return max((when for one in conditions(pod) if (when := moment(one.get("lastTransitionTime"))) is not None), default=None)
