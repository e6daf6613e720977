"""From a planned stage to its Job: pure, and nothing in it comes from the cluster."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ser_core.api.serrun import API_VERSION, KIND, SERRun
from ser_core.loop.observed import StartStage
from ser_operator.objects import Object, gang, labels, pod, queue
from ser_operator.objects.asked import asked_for, stage_resources
from ser_operator.settings import Settings

NEVER_RETRIED = (3, *range(10, 20))
"""Exit codes after which Kubernetes itself must not start the pod again (`ser_core.errors`)."""


def job(body: Mapping[str, Any], run: SERRun, action: StartStage, image: str, settings: Settings, cluster: str = "") -> Object:
    """The Job of one attempt.

    Args:
        body: Owner of the Job, as the API server holds it.
        run: The same, read.
        action: What the planner wants started; its ``job`` is the name.
        image: The run's frozen image.
        settings: The operator's.
        cluster: Its identity, which the run's folder in the store is marked with; empty: it has none.
    """
    spec = action.spec
    wanted = stage_resources(run, spec)
    template = pod.template(run, action, image, settings, cluster)
    if gang.is_gang(spec, wanted) and (near := queue.topology(body)):
        template["metadata"]["annotations"] = {**template["metadata"].get("annotations", {}), **near}
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()
    name = queue.queue_of(run, wanted, settings)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": action.job,
            "namespace": run.metadata.namespace,
            "labels": {**labels.stage_labels(run, spec), **({labels.QUEUE: name} if name else {}), **queue.job_labels(body)},
            "annotations": {
                labels.TEMPLATE_HASH: digest,
                labels.ASKED_FOR: asked_for(run, spec, image, settings),
                **({labels.ASKED_QUEUE: name} if name else {}),
            },
            "ownerReferences": [owner(run)],
        },
        "spec": {
            **gang.job_fields(spec, wanted),
            "podReplacementPolicy": "Failed",  # never two pods on scarce devices
            "suspend": name is not None,  # a queue admits it; the operator never changes it
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": template,
        },
    }


def owner(run: SERRun) -> Object:
    """Reference that makes the garbage collector delete a child with its run, operator up or down."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": run.metadata.name,
        "uid": run.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _failure_rules() -> list[Object]:
    """What ends the attempt at once, also one in parts: an answer that will not change, and a pod that the cluster takes away. The planner
    starts the next attempt, says so and counts the GPU time of each; a Job that replaces its pods does neither."""
    never_again = {"action": "FailJob", "onExitCodes": {"containerName": labels.CONTAINER, "operator": "In", "values": list(NEVER_RETRIED)}}
    taken_away = {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    return [taken_away, never_again]
