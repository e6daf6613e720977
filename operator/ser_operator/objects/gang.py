"""Stages that several processes compute: how many, in how many pods, and how they find each other. Pure.

Training is one gang: all pods of an Indexed Job, or none. They find pod 0 by a name that a headless Service gives it. Labelling is cut into
parts that do not communicate, so a lost pod is replaced alone.
"""

import hashlib
from collections.abc import Mapping

from ser_core.api.serrun import SERRun
from ser_core.api.spec.resources import StageResources
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_operator.objects import Object, labels
from ser_operator.settings import Settings

ONE_PROCESS = frozenset({StageKind.PREPARE, StageKind.FILTER})
"""Stages that one process computes."""
IN_PARTS = frozenset({StageKind.LABEL})
"""Stages whose pods do not talk to each other."""
MASTER_PORT = 29500
_RETRIES_OF_A_PART = 1
_NAME_LENGTH = 63


def pods(spec: StageSpec, wanted: StageResources) -> int:
    """How many pods an attempt has. Looking for a manifest takes one."""
    return 1 if spec.stage in ONE_PROCESS or spec.mode == "report" else wanted.nodes


def is_gang(spec: StageSpec, wanted: StageResources) -> bool:
    """Whether an attempt has pods that must find each other."""
    return pods(spec, wanted) > 1 and spec.stage not in IN_PARTS


def service_name(run: SERRun) -> str:
    """Name of the run's Service: one for all its gangs, since pods are named by their Jobs."""
    suffix = f"-{hashlib.sha256(run.metadata.uid.encode()).hexdigest()[:10]}"
    prefix = f"ser-{run.metadata.name.replace('.', '-')}"
    return prefix[: _NAME_LENGTH - len(suffix)].rstrip("-") + suffix


def service(run: SERRun, owner: Object) -> Object:
    """The headless Service by which the pods of a gang find pod 0, also before it is ready. It goes with its run."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": service_name(run),
            "namespace": run.metadata.namespace,
            "labels": dict(labels.run_labels(run)),
            "ownerReferences": [owner],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,  # they meet in order to become ready
            "selector": {labels.RUN_UID: run.metadata.uid},
        },
    }


def job_fields(spec: StageSpec, wanted: StageResources) -> Object:
    """What the Job of an attempt says of its pods; the planner owns the retries of all but single parts."""
    number = pods(spec, wanted)
    counts: Object = {"parallelism": number, "completions": number}
    if number == 1:
        return {**counts, "backoffLimit": 0}
    if spec.stage in IN_PARTS:
        return {**counts, "completionMode": "Indexed", "backoffLimitPerIndex": _RETRIES_OF_A_PART}
    return {**counts, "completionMode": "Indexed", "backoffLimit": 0}


def environment(spec: StageSpec, wanted: StageResources, job: str, run: SERRun, settings: Settings) -> Mapping[str, str]:
    """What the supervisor of each pod must know of the others (`ser_jobs.supervisor.supervision`)."""
    found = {}
    if wanted.gpus > 1 and spec.stage not in ONE_PROCESS and spec.mode != "report":
        found["SER_PROCESSES"] = str(wanted.gpus)
    if pods(spec, wanted) > 1:
        found["SER_PODS"] = str(wanted.nodes)
    if is_gang(spec, wanted):
        found |= {
            "SER_RENDEZVOUS_SECONDS": f"{settings.rendezvous_seconds:g}",
            "MASTER_ADDR": f"{job}-0.{service_name(run)}.{run.metadata.namespace}.svc",
            "MASTER_PORT": str(MASTER_PORT),
        }
    return found
