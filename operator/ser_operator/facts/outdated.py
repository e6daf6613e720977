"""Whether the live attempt waits for what nobody asks for any more. Pure."""

from collections.abc import Sequence

from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import frozen_image, live_attempt, stage_spec
from ser_operator.facts.pods.attempts_from_pods import identity_of
from ser_operator.facts.reading import Object, at, by_index, owner_uid, started_at, state_of, terminated, uid
from ser_operator.facts.view import View, live_job
from ser_operator.objects import labels
from ser_operator.objects.asked import asked_for, stage_resources
from ser_operator.objects.gang import IN_PARTS
from ser_operator.objects.queue import queue_of
from ser_operator.settings import Settings


def is_outdated(view: View, settings: Settings) -> bool:
    """Whether the live attempt has not begun, and its Job asks for other resources, another image or another queue than it would now.

    A Job of an operator that did not write down what it asked for is left as it is.
    """
    live, job = live_attempt(view.run.status), live_job(view)
    if live is None or job is None or state_of(job) != "running" or identity_of(view.run, job) is None:
        return False
    pods = [pod for pod in view.pods if owner_uid(pod) == uid(job)]
    asked = at(job, "metadata", "annotations").get(labels.ASKED_FOR)
    if not asked or _has_begun(job, live.stage, pods):
        return False
    image = frozen_image(view.run.status, settings.image)
    spec = stage_spec(view.run, view.run.status, live)
    wanted = queue_of(view.run, stage_resources(view.run, spec), settings)
    return bool(asked != asked_for(view.run, spec, image, settings)) or _waits_in_another_queue(job, wanted)


def _waits_in_another_queue(job: Object, wanted: str | None) -> bool:
    """Whether a suspended Job was made for another queue. Its label tells so only of an earlier operator's Job: a policy of the cluster may
    set it, which a new Job would not change, and Kueue gives its default one to a Job that wants none."""
    label = at(job, "metadata", "labels").get(labels.QUEUE) if wanted else None
    made_for = at(job, "metadata", "annotations").get(labels.ASKED_QUEUE, label)
    return bool(at(job, "spec").get("suspend")) and bool(made_for != wanted)


def _has_begun(job: Object, stage: StageKind, pods: Sequence[Object]) -> bool:
    """Whether a container has started; of a gang, which computes nothing before it has met, whether all have."""
    started = [pod for pod in by_index(pods) if started_at(pod) or terminated(pod)]
    return len(started) >= (1 if stage in IN_PARTS else at(job, "spec").get("completions", 1))
