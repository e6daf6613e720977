"""What a Job says to Kueue: its queue, and the labels and annotations of the SERRun that Kueue reads on Jobs and pods. Pure."""

from collections.abc import Mapping
from typing import Any

from ser_core.api.serrun import SERRun
from ser_core.api.spec.resources import StageResources
from ser_operator.objects import labels
from ser_operator.settings import Settings


def queue_of(run: SERRun, wanted: StageResources, settings: Settings) -> str | None:
    """The LocalQueue of an attempt's Job; None: it is not queued."""
    if not wanted.gpus and not settings.queue_cpu_stages:
        return None
    return run.spec.queue_name or settings.default_queue


def job_labels(body: Mapping[str, Any]) -> dict[str, str]:
    """The WorkloadPriorityClass that a SERRun names, for its Jobs."""
    given = body["metadata"].get("labels") or {}
    return {labels.PRIORITY: given[labels.PRIORITY]} if labels.PRIORITY in given else {}


def topology(body: Mapping[str, Any]) -> dict[str, str]:
    """The topology that a SERRun wants for the pods of a gang."""
    given = body["metadata"].get("annotations") or {}
    return {name: value for name, value in given.items() if name.startswith(labels.TOPOLOGY)}
