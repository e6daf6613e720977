"""Every label and annotation that the operator writes (docs/operations.md lists them), and the name of the container that it asks for."""

from collections.abc import Mapping

from ser_core.api.serrun import SERRun
from ser_core.api.stage import StageSpec

DOMAIN = "ser.dev"
RUN = f"{DOMAIN}/run"
"""Name of the run, cut to 63 characters: for people. Never selected by."""
RUN_UID = f"{DOMAIN}/run-uid"
"""UID of the run: what the operator lists Jobs and pods by. Ownership is then checked by ownerReferences."""
ITERATION = f"{DOMAIN}/iteration"
STAGE = f"{DOMAIN}/stage"
ATTEMPT = f"{DOMAIN}/attempt"
MODE = f"{DOMAIN}/mode"
"""``execute`` or ``report``."""
QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"
"""WorkloadPriorityClass: passed on from a SERRun to its Jobs."""
TOPOLOGY = "kueue.x-k8s.io/podset-"
"""How the annotations begin that say how near to each other the pods of a gang must be: passed on from a SERRun to them."""
JOB_UID = "kueue.x-k8s.io/job-uid"
"""Set by Kueue, on the Workload of a Job: what it is found by."""
MANAGED_BY = "app.kubernetes.io/managed-by"
OPERATOR = "ser-operator"
CLASS = f"{DOMAIN}/operator-class"
"""`spec.operatorClass` of the run; absent where that is empty."""
CONTAINER = "stage"
"""Of the stage in its pod. Meshes, log collectors and others may add containers of their own."""
ASKED_FOR = f"{DOMAIN}/asked-for"
"""Annotation: SHA-256 of what the run and the operator asked of the cluster when the Job was made (`asked.asked_for`)."""
ASKED_QUEUE = f"{DOMAIN}/asked-queue"
"""Annotation: the LocalQueue that the Job was made for; absent where it was made for none. Others may change its label."""
TEMPLATE_HASH = f"{DOMAIN}/template-hash"
"""Annotation: SHA-256 of the pod template as it was rendered. For people; queues may change templates, so it is never compared."""


def selector(operator_class: str) -> str:
    """Server-side filter of every watch and list of children."""
    return f"{MANAGED_BY}={OPERATOR},{f'{CLASS}={operator_class}' if operator_class else f'!{CLASS}'}"


def are_selected(labels: Mapping[str, str], operator_class: str) -> bool:
    """Whether `selector` finds an object with these labels."""
    return labels.get(MANAGED_BY) == OPERATOR and (labels.get(CLASS) == operator_class if operator_class else CLASS not in labels)


def run_labels(run: SERRun) -> Mapping[str, str]:
    """Labels of everything that belongs to a run."""
    return {
        "app.kubernetes.io/part-of": OPERATOR,
        MANAGED_BY: OPERATOR,
        RUN: run.metadata.name[:63].rstrip(".-"),
        RUN_UID: run.metadata.uid,
        **({CLASS: run.spec.operator_class} if run.spec.operator_class else {}),
    }


def stage_labels(run: SERRun, spec: StageSpec) -> Mapping[str, str]:
    """Labels of a stage's Job and pods."""
    return {
        "app.kubernetes.io/name": "ser-stage",
        "app.kubernetes.io/component": spec.stage.value,
        **run_labels(run),
        ITERATION: str(spec.iteration),
        STAGE: spec.stage.value,
        ATTEMPT: str(spec.attempt),
        MODE: spec.mode,
    }
