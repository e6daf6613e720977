"""Whether the live attempt waits for what nobody asks for any more. Pure."""

from ser_core.loop.deciding.stages import frozen_image, live_attempt, stage_spec
from ser_operator.facts.pods.attempts_from_pods import identity_of
from ser_operator.facts.reading import at, owner_uid, started_at, state_of, terminated, uid
from ser_operator.facts.view import View, live_job
from ser_operator.objects import labels, render
from ser_operator.settings import Settings


def is_outdated(view: View, settings: Settings) -> bool:
    """Whether no container of the live attempt has started, and its Job asks for other resources or another image than it would now.

    A Job of an operator that did not write down what it asked for is left as it is.
    """
    live, job = live_attempt(view.run.status), live_job(view)
    if live is None or job is None or state_of(job) != "running" or identity_of(view.run, job) is None:
        return False
    pods = [pod for pod in view.pods if owner_uid(pod) == uid(job)]
    asked = at(job, "metadata", "annotations").get(labels.ASKED_FOR)
    if not asked or any(started_at(pod) or terminated(pod) for pod in pods):
        return False
    image = frozen_image(view.run.status, settings.image)
    return bool(asked != render.asked_for(view.run, stage_spec(view.run, view.run.status, live), image, settings))
