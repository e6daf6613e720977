"""What the pods of stages have besides what the operator gives them, in Kubernetes' own words.

Each key is closed until the administrator opens it (`allow.podTemplate` of the chart). What is inside a list or object is Kubernetes' own:
the operator looks only at what the allow-lists judge, and the API server refuses a Job that it does not take (`JobRefused`).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ser_core.api.model import Model

_LEVELS = 32
"""No object of Kubernetes is half as deep, and the API server takes ten thousand levels, on which whoever walks through them ends."""


def _check_depth(value: dict[str, Any]) -> dict[str, Any]:
    layer: list[Any] = [value]
    for _ in range(_LEVELS + 1):
        layer = [inner for one in layer if isinstance(one, dict | list) for inner in (one.values() if isinstance(one, dict) else one)]
    if layer:
        raise ValueError(f"is nested more than {_LEVELS} levels deep: no object of Kubernetes is")
    return value


Object = Annotated[dict[str, Any], AfterValidator(_check_depth), Field(description="An object in the form of Kubernetes.")]
_Text = Annotated[str, Field(max_length=4096)]
_Name = Annotated[str, Field(min_length=1, max_length=253)]


class PodTemplate(Model):
    """What pods have besides. A stage's own goes over that of the run, key by key; in lists, what has the same name."""

    labels: dict[str, _Text] = Field(default_factory=dict, max_length=32)
    """Labels of the pods. Those of the operator stay."""
    annotations: dict[str, _Text] = Field(default_factory=dict, max_length=32)
    """Annotations of the pods, for example `sidecar.istio.io/inject: "false"`."""
    env: tuple[Object, ...] = Field(default=(), max_length=64)
    """Variables of the stage, as a container's `env`: for example a proxy, or NCCL's settings. Those of the operator stay."""
    env_from: tuple[Object, ...] = Field(default=(), max_length=16)
    """Variables out of a Secret or ConfigMap, as a container's `envFrom`."""
    volumes: tuple[Object, ...] = Field(default=(), max_length=32)
    """Volumes, as a pod's `volumes`: configMap, secret, emptyDir, persistentVolumeClaim or ephemeral."""
    volume_mounts: tuple[Object, ...] = Field(default=(), max_length=32)
    """Where the stage has them, as a container's `volumeMounts`."""
    service_account_name: _Name | None = None
    """ServiceAccount of the pods, whose token is not mounted: for the workload identity of a cloud."""
    image_pull_secrets: tuple[Object, ...] = Field(default=(), max_length=16)
    """Secrets to pull images with, as a pod's `imagePullSecrets`, besides those of the operator."""
    runtime_class_name: _Name | None = None
    """RuntimeClass of the pods."""
    scheduler_name: _Name | None = None
    """Scheduler of the pods."""
    affinity: Object = Field(default_factory=dict)
    """As a pod's `affinity`."""
    topology_spread_constraints: tuple[Object, ...] = Field(default=(), max_length=16)
    """As a pod's `topologySpreadConstraints`."""
    resource_claims: tuple[Object, ...] = Field(default=(), max_length=16)
    """Devices by dynamic allocation, as a pod's `resourceClaims`; the stage gets all of them."""
    resources: dict[str, _Text] = Field(default_factory=dict, max_length=16)
    """Extended resources of the stage's container, for example `rdma/hca: "1"`."""
    sidecars: tuple[Object, ...] = Field(default=(), max_length=8)
    """Containers beside the stage, in the form of a pod's `initContainers`; they start before it and end with it."""

    def over(self, other: "PodTemplate") -> "PodTemplate":
        """``other`` with this over it."""
        return PodTemplate.model_construct(**{name: _over(getattr(other, name), getattr(self, name)) for name in type(self).model_fields})


def written_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The same of pod templates as they are written: ``below`` with ``above`` over it."""
    return {**below, **{name: _over(below[name], value) if name in below else value for name, value in above.items()}}


def _over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **above}
    if isinstance(below, tuple | list) and isinstance(above, tuple | list):
        return type(above)((*(one for one in below if not _has(above, one)), *above))
    return below if above is None else above


def _has(items: Sequence[Mapping[str, Any]], one: Mapping[str, Any]) -> bool:
    """Whether one of the same name, or at the same place, is among ``items``."""
    key = "mountPath" if "mountPath" in one else "name"
    return key in one and any(item.get(key) == one[key] for item in items)
