"""How the operator is set up: environment variables, read once at the start.

`SER_OPERATOR_IMAGE` sets the field ``image``, and so on. Lists are separated by commas; what has an inner structure is JSON.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from ser_core.api.model import Model
from ser_core.api.spec.resources import Toleration
from ser_core.api.values.amounts import Memory
from ser_core.api.values.forms import LabelKey, LabelValue, QueueName
from ser_core.errors import SpecError
from ser_operator.allow import Allow

PREFIX = "SER_OPERATOR_"
EARLIER_LISTS = {"allowed_secrets": "secrets", "allowed_storage": "write", "allowed_endpoints": "endpoints"}
"""Settings of version 0.1.0 that are lists of ``allow`` now, separated by commas; still taken, and what they say wins."""
LARGEST_ID = 2**31 - 1
"""Of a user or a group, as Kubernetes takes it."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _or_none(value: Any) -> Any:
    return value or None


def _parse(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _tolerations(value: Any) -> Any:
    """Without the words that are empty, which say no more to Kubernetes than those that are left out."""
    parsed = _parse(value)
    if not isinstance(parsed, list):
        return parsed
    return [{key: word for key, word in one.items() if word != ""} if isinstance(one, dict) else one for one in parsed]


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]


class PodUser(Model):
    """Who the processes of the stages' pods are; of what is not given, the platform chooses."""

    run_as_user: int | None = Field(default=None, ge=1, le=LARGEST_ID)
    run_as_group: int | None = Field(default=None, ge=0, le=LARGEST_ID)
    fs_group: int | None = Field(default=None, ge=0, le=LARGEST_ID)
    """Group of the files in volumes. Without it every user of the pod may read its Secrets, since the stage is one that nobody knows."""


class StageDefaults(Model):
    """What a stage's pod gets where its SERRun does not say."""

    memory: Annotated[Memory | None, BeforeValidator(_or_none)] = None
    """Request and limit; none: as much as the node, or a LimitRange of the namespace, lets it have."""
    ephemeral_storage: Annotated[Memory | None, BeforeValidator(_or_none)] = None
    """Request and limit of the node's disk; none: the sizes of the volumes bound it."""
    work_size: Memory = "1Ti"
    """Most that the stage's work folder may take of the node's disk: copies of the models, tables, a checkpoint on its way to the store."""
    scratch_size: Memory = "100Gi"
    """The same of its folder for temporary files."""
    shared_memory_size: Memory = "16Gi"
    """Most of its memory that its processes may share. NCCL takes some megabytes a GPU."""


class Settings(Model):
    """Every setting with its unit and why it has its default."""

    image: str = Field(min_length=1, max_length=512)
    """Image of the stages. A run freezes it at its first commit, so an upgrade of the operator changes nothing for a live run."""
    namespaces: Names = ()
    """Namespaces to watch; empty: the whole cluster, which needs a ClusterRole."""
    operator_class: LabelValue = ""
    """Runs of this class (spec.operatorClass) are taken, and no others are so much as looked at: two operators may share a cluster."""
    service_account: str = "ser-stage"
    """ServiceAccount of the stage pods. It needs no rights, and its token is not mounted."""
    image_pull_secrets: Names = ()
    """Secrets to pull the image with."""
    security_context: Annotated[PodUser, BeforeValidator(_parse)] = PodUser(run_as_user=65532, run_as_group=65532, fs_group=65532)
    """User and groups of the stage pods (JSON object). Without a group of their own they would have root's."""
    allow: Annotated[Allow, BeforeValidator(_parse)] = Allow()
    """What a SERRun may ask for (JSON object). Of a list that is not given, the default counts."""
    gpu_node_selector: Annotated[Mapping[LabelKey, LabelValue], BeforeValidator(_parse)] = Field(default_factory=dict)
    """Labels of the nodes for stages with GPUs (JSON object). The nodeSelector of a SERRun replaces a label with the same key."""
    gpu_tolerations: Annotated[tuple[Toleration, ...], BeforeValidator(_tolerations)] = ()
    """Taints of these nodes (JSON list of tolerations), besides those that a SERRun tolerates."""
    gpu_resource: LabelKey = "nvidia.com/gpu"
    """Resource by which nodes count GPUs."""
    stage_defaults: Annotated[StageDefaults, BeforeValidator(_parse)] = StageDefaults()
    """What stages get that ask for none (JSON object)."""
    default_queue: Annotated[QueueName | None, BeforeValidator(_or_none)] = None
    """Kueue LocalQueue of runs that name none; none: their Jobs are not queued."""
    queue_cpu_stages: bool = True
    """Whether stages without GPUs are queued too. They need no GPU quota, but the nodes' CPUs are a quota of many queues as well."""
    grace_seconds: int = Field(default=120, ge=1, le=3600)
    """terminationGracePeriodSeconds of stage pods: time to save a checkpoint. Spot instances give 120 s notice."""
    hang_seconds: float = Field(default=60, gt=0)
    """Longest step of a process of a stage before it counts as hung; three times its usual step if that is more."""
    silent_seconds: float = Field(default=1800, gt=0)
    """The same for work without steps: loading, saving, encoding, uploading. The largest models take minutes."""
    rendezvous_seconds: float = Field(default=600, gt=0)
    """How long the pods of a gang wait for each other before they give up their GPUs. New nodes take minutes to come up."""
    default_threads: int = Field(default=2, ge=1, le=256)
    """Threads of a stage whose resources name no CPUs; frozen at the first commit of a run, since results depend on it."""
    workers: int = Field(default=8, ge=1, le=64)
    """Runs that are reconciled at once. Each waits for the API server most of the time."""
    resync_seconds: float = Field(default=300, ge=1)
    """Pause between two full LISTs, which heal what the watch has lost (kopf re-lists without telling what is gone)."""
    probe_host: str = "127.0.0.1"
    """Address of /livez, /readyz and /metrics. The chart sets the pod's own, at which the kubelet and Prometheus ask."""
    probe_port: int = Field(default=8080, ge=0, le=65535)
    """Port of /livez, /readyz and /metrics; 0 takes a free one and logs it."""
    request_seconds: float = Field(default=30, gt=0)
    """Longest wait for one answer of the API server."""
    progress_seconds: float = Field(default=60, ge=1)
    """Pause between two requests for the progress of a running stage."""
    events_after_seconds: float = Field(default=30, ge=0)
    """How long a pod may wait before its Events are asked for the reason."""


def from_environment(environment: Mapping[str, str]) -> Settings:
    """The settings that ``environment`` holds.

    Raises:
        SpecError: A variable is unknown, missing or out of bounds; it is named with its value.
    """
    given: dict[str, Any] = {name.removeprefix(PREFIX).lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    earlier = {allowed: _split(given.pop(name)) for name, allowed in EARLIER_LISTS.items() if name in given}
    try:
        settings = Settings.model_validate(given)
        allow = settings.allow.model_dump(by_alias=True) | earlier
        return settings.model_copy(update={"allow": Allow.model_validate(allow)}) if earlier else settings
    except ValidationError as error:
        first = error.errors()[0]
        field, *inside = map(str, first["loc"])
        name, where = f"{PREFIX}{field.upper()}", f" (at {'.'.join(inside)})" if inside else ""
        raise SpecError(
            f"{name}={environment.get(name, '')!r:.80}: {first['msg']}{where}", hint="see operator/ser_operator/settings.py"
        ) from error
