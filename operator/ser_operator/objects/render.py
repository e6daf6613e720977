"""From a planned stage to its Job: pure, and nothing in it comes from the cluster.

What a SERRun may not choose (security context, ServiceAccount, command, volumes) is set here and nowhere else.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ser_core.api.cluster_identity import CLUSTER
from ser_core.api.serrun import API_VERSION, KIND, SERRun
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.spec.resources import StageResources
from ser_core.api.stage import StageSpec
from ser_core.api.stage_wire import STAGE, STARTED_BY, write_stage_spec
from ser_core.api.status import StageKind
from ser_core.loop.deciding.stages import resources
from ser_core.loop.deciding.token_budget import computes_in_batches
from ser_core.loop.observed import StartStage
from ser_operator.objects import gang, labels, overlay, queue
from ser_operator.settings import Settings

Object = dict[str, Any]

VERSION = version("ser-operator")
PROGRESS_PORT = 9400
TERMINATION_LOG = "/dev/termination-log"
WORK, SCRATCH, SHARED_MEMORY = "/work", "/tmp", "/dev/shm"
STORAGE_CREDENTIALS, HUB_CREDENTIALS = "/etc/ser/storage-credentials", "/etc/ser/hub-credentials"
AUTHORITIES = "/etc/ser/storage-authorities"
HOSTNAME = "kubernetes.io/hostname"
NEVER_RETRIED = (3, *range(10, 20))
"""Exit codes after which Kubernetes itself must not start the pod again (`ser_core.errors`)."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


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
    template = _template(run, action, image, settings, cluster)
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
            "annotations": {labels.TEMPLATE_HASH: digest, labels.ASKED_FOR: asked_for(run, spec, image, settings)},
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


def asked_for(run: SERRun, spec: StageSpec, image: str, settings: Settings) -> str:
    """Digest of what a Job asks of the cluster and a user or administrator may change: a Job of another digest that waits starts anew.

    What is left at its default is left out, so that an operator with more fields asks for the same.
    """
    wanted = stage_resources(run, spec).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    tokens = spec.spec.training.tokens_per_batch if computes_in_batches(spec.stage) else None
    template = run.spec.pod_template
    more = [] if template is None else [template.model_dump(mode="json", by_alias=True, exclude_defaults=True)]
    asked = json.dumps([image, settings.image_pull_secrets, wanted, tokens, *more], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


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


def _elsewhere(nodes: tuple[str, ...]) -> Object:
    """Affinity that prefers every other node to ``nodes``. It needs no right to read nodes, and forbids nothing."""
    others = {"matchExpressions": [{"key": HOSTNAME, "operator": "NotIn", "values": list(nodes)}]}
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": others}]}}


def _template(run: SERRun, action: StartStage, image: str, settings: Settings, cluster: str) -> Object:
    spec = action.spec
    wanted = stage_resources(run, spec)
    secrets = _credentials(run, spec)
    mode = 0o444 if settings.security_context.fs_group is None else 0o440  # root owns them, and whose group they have is not known
    pod: Object = {
        "restartPolicy": "Never",
        "serviceAccountName": settings.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            **settings.security_context.model_dump(by_alias=True, exclude_none=True),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(run, action, image, wanted, tuple(secrets), settings, cluster)],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": settings.stage_defaults.work_size}},
            {"name": "scratch", "emptyDir": {"sizeLimit": settings.stage_defaults.scratch_size}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": settings.stage_defaults.shared_memory_size}},
            *({"name": name, "secret": {"secretName": secret, "defaultMode": mode}} for name, (secret, _) in secrets.items()),
            *_authorities(run),
        ],
    }
    if gang.is_gang(spec, wanted):
        pod["subdomain"] = gang.service_name(run)  # with it the pods of an Indexed Job have names
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    if selector := {**(settings.gpu_node_selector if wanted.gpus else {}), **wanted.node_selector}:
        pod["nodeSelector"] = selector
    if tolerations := (*wanted.tolerations, *(settings.gpu_tolerations if wanted.gpus else ())):
        pod["tolerations"] = [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in tolerations]
    if action.avoid_nodes:
        pod["affinity"] = _elsewhere(action.avoid_nodes)
    if wanted.priority_class_name:
        pod["priorityClassName"] = wanted.priority_class_name
    own: Object = {"metadata": {"labels": dict(labels.stage_labels(run, spec))}, "spec": pod}
    more = pod_template(run, wanted)
    return own if more is None else overlay.laid_over(own, more, settings)


def pod_template(run: SERRun, wanted: StageResources) -> PodTemplate | None:
    """What the pods of a stage have besides."""
    if run.spec.pod_template is None or wanted.pod_template is None:
        return run.spec.pod_template or wanted.pod_template
    return wanted.pod_template.over(run.spec.pod_template)


def stage_resources(run: SERRun, spec: StageSpec) -> StageResources:
    """Resources of an attempt. Looking for a manifest takes no GPU and no torch: it gets what `prepare` has."""
    return resources(run, StageKind.PREPARE if spec.mode == "report" else spec.stage)


def _credentials(run: SERRun, spec: StageSpec) -> dict[str, tuple[str, str]]:
    """Secret and folder of each credential, by volume name. Only `prepare` reaches the hub."""
    found = {}
    if run.spec.storage.credentials_secret:
        found["storage-credentials"] = (run.spec.storage.credentials_secret, STORAGE_CREDENTIALS)
    if run.spec.hub.credentials_secret and spec.stage is StageKind.PREPARE:
        found["hub-credentials"] = (run.spec.hub.credentials_secret, HUB_CREDENTIALS)
    return found


def _authorities(run: SERRun) -> list[Object]:
    """The volume with the certificates that the store's own is judged by. They are no secret, whatever holds them."""
    named = run.spec.storage.ca_bundle_from
    if named is None:
        return []
    source: Object = {"items": [{"key": named.key, "path": "ca.crt"}], "defaultMode": 0o444}
    kind = {"secret": {"secretName": named.secret, **source}} if named.secret else {"configMap": {"name": named.config_map, **source}}
    return [{"name": "storage-authorities", **kind}]


def _with_authorities(spec: StageSpec) -> StageSpec:
    """The stage's spec with the path under which its pod finds them."""
    storage = spec.spec.storage
    if storage.ca_bundle_from is None:
        return spec
    known = storage.model_copy(update={"ca_bundle": f"{AUTHORITIES}/ca.crt"})
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"storage": known})})


def _container(
    run: SERRun, action: StartStage, image: str, wanted: StageResources, secrets: tuple[str, ...], settings: Settings, cluster: str
) -> Object:
    folders = {"storage-credentials": STORAGE_CREDENTIALS, "hub-credentials": HUB_CREDENTIALS}
    mounts = [("work", WORK), ("scratch", SCRATCH), ("shared-memory", SHARED_MEMORY)]
    return {
        "name": labels.CONTAINER,
        "image": image,
        "command": ["python", "-m", "ser_jobs.supervisor", "-m", "ser_jobs.runtime"],
        "env": _environment(
            _with_authorities(action.spec),
            {name: folders[name] for name in secrets},
            {
                **({CLUSTER: cluster} if cluster else {}),
                **_supervision(settings, action.max_seconds),
                **gang.environment(action.spec, wanted, action.job, run, settings),
            },
        ),
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT}],
        "resources": _requests(wanted, settings),
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "securityContext": dict(overlay.CONTAINER_SECURITY),
        "volumeMounts": [
            *({"name": name, "mountPath": path} for name, path in mounts),
            *({"name": name, "mountPath": folders[name], "readOnly": True} for name in secrets),
            *({"name": one["name"], "mountPath": AUTHORITIES, "readOnly": True} for one in _authorities(run)),
        ],
    }


def _supervision(settings: Settings, max_seconds: int | None) -> dict[str, str]:
    """What every supervisor is told (`ser_jobs.supervisor.supervision`)."""
    bounds = {"GRACE": settings.grace_seconds, "HANG": settings.hang_seconds, "SILENT": settings.silent_seconds}
    limit = {} if max_seconds is None else {"SER_BUDGET_SECONDS": str(max_seconds)}
    return {**{f"SER_{name}_SECONDS": f"{value:g}" for name, value in bounds.items()}, **limit}


def escaped(stage: str) -> str:
    """A stage spec as the value of a variable. Kubernetes expands $(NAME) there; JSON may write every $ in another way."""
    return stage.replace("$", "\\u0024")


def _environment(spec: StageSpec, credentials: dict[str, str], more: dict[str, str]) -> list[Object]:
    plain = {
        STAGE: escaped(write_stage_spec(spec)),
        STARTED_BY: VERSION,
        "SER_TERMINATION_MESSAGE": TERMINATION_LOG,
        "SER_WORKDIR": WORK,
        "SER_PROGRESS_PORT": str(PROGRESS_PORT),
        "HOME": WORK,
        "TMPDIR": SCRATCH,
        "TOKENIZERS_PARALLELISM": "false",
        **dict.fromkeys(_THREADS, str(spec.threads)),
        **{f"SER_{name.replace('-', '_').upper()}": path for name, path in credentials.items()},
        **more,
    }
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [*({"name": name, "value": value} for name, value in plain.items()), address]


def _requests(wanted: StageResources, settings: Settings) -> Object:
    defaults = settings.stage_defaults
    amounts = {
        "cpu": wanted.cpu,
        "memory": wanted.memory or defaults.memory,
        "ephemeral-storage": defaults.ephemeral_storage,
        settings.gpu_resource: str(wanted.gpus) if wanted.gpus else None,
    }
    named = {name: amount for name, amount in amounts.items() if amount is not None}
    return {"requests": named, "limits": named} if named else {}
