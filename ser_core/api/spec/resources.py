"""What the pods of each kind of stage get."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ser_core.api.guarded import AllowList, Guarded
from ser_core.api.model import Model
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.values.amounts import Cpus, Memory
from ser_core.api.values.forms import LABEL_KEYS, LabelKey, LabelValue, PriorityClass
from ser_core.api.values.quantity import quantity

EVERY_TAINT = "*"
"""The key of a toleration that names none, for the allow-list."""


class Toleration(Model):
    """A Kubernetes toleration, passed on to the stage's pods."""

    key: Annotated[LabelKey | None, Guarded(AllowList.TOLERATIONS, absent=EVERY_TAINT)] = None
    """Taint key; left out with operator Exists it matches all."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the value is compared."""
    value: LabelValue | None = None
    """Taint value for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect; left out it matches all."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """Seconds a pod stays after a NoExecute taint appears."""

    @model_validator(mode="after")
    def _kubernetes_takes_it(self) -> Self:
        if self.value if self.operator == "Exists" else not self.key:
            raise ValueError(f"operator {self.operator} {'takes no value' if self.operator == 'Exists' else 'needs a key'}")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError(f"tolerationSeconds goes with effect NoExecute, not {self.effect}")
        return self


class StageResources(Model):
    """What one stage's processes get."""

    nodes: int = Field(default=1, ge=1, le=64)
    """Pods of the stage. `ser run` always uses one process."""
    gpus: int = Field(default=0, ge=0, le=16)
    """GPUs of each pod."""
    cpu: Cpus | None = None
    """CPU request and limit of each pod, from 1m to 4096. Whole CPUs also set the number of threads, which is part of the stage's
    inputs."""
    memory: Memory | None = None
    """Memory request and limit of each pod, from 16Mi to 64Ti. What a training's GPUs have no room for goes there, if this is enough."""
    gpu_memory: Memory | None = None
    """Memory of one GPU, for example `40Gi`, by which a stage plans how its work is spread. Left out: in a stage what its GPU has, before
    that 80Gi."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Guarded(AllowList.NODE_SELECTORS)] = Field(
        default_factory=dict, max_length=32, json_schema_extra=LABEL_KEYS
    )
    """Node labels that the pods need."""
    tolerations: tuple[Toleration, ...] = Field(default=(), max_length=32)
    """Taints that the pods tolerate."""
    priority_class_name: PriorityClass | None = None
    """PriorityClass of the pods."""
    pod_template: PodTemplate | None = None
    """What the stage's pods have besides, over `podTemplate` of the run."""

    @property
    def gpu_memory_bytes(self) -> int | None:
        """Bytes of one GPU, where the spec says them."""
        return None if self.gpu_memory is None else int(quantity(self.gpu_memory))

    @property
    def memory_bytes(self) -> int | None:
        """Bytes of main memory of one pod, where the spec says them."""
        return None if self.memory is None else int(quantity(self.memory))


class ResourcesSpec(Model):
    """Resources per kind of stage."""

    prepare: StageResources = StageResources()
    """Reading, validating and splitting the data. CPU."""
    label: StageResources = StageResources()
    """Scoring the pool."""
    filter: StageResources = StageResources()
    """Choosing the trusted pairs. CPU."""
    retrain: StageResources = StageResources()
    """Training and evaluating a reward model; also the controls."""
    sft: StageResources = StageResources()
    """Fine-tuning the policy."""
    ppo: StageResources = StageResources()
    """Aligning the policy."""
