"""The SERRun resource as the user writes it. The docs under the fields are the manual (`kubectl explain`).

Bounds and cross-field rules stand here once; ``ser_core.api.crd`` turns them into the CRD's schema and CEL rules.
"""

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from ser_core.api.known_part import Document, Unknown, read_known, with_unknown
from ser_core.api.model import Model
from ser_core.api.spec.data import DataSpec
from ser_core.api.spec.loop import LoopSpec
from ser_core.api.spec.pod_template import PodTemplate
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.resources import ResourcesSpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.api.spec.training import TrainingSpec
from ser_core.api.status import SERRunStatus
from ser_core.api.values.amounts import Duration, Pause
from ser_core.api.values.forms import LabelValue, Name, Namespace, QueueName

API_VERSION = "ser.dev/v1alpha1"


KIND = "SERRun"


class FromSpec(Model):
    """An earlier run whose results are used again."""

    run: Name
    """Its name, which means the newest run of that name, or its UID. It may have been deleted, as long as the store still holds it. Only
    runs of the same namespace and the same `storage.uri` are found."""


class TemplateRef(Model):
    """A SERRunTemplate of the run's namespace (docs/operations.md, Templates)."""

    name: Name
    """Name of the SERRunTemplate."""


class BudgetSpec(Model):
    """What the run may cost."""

    gpu_hours: float = Field(gt=0, le=1_000_000)
    """GPU-hours of all pods of all attempts together, each from the start of its container to its end. When they are spent, the stage
    saves a checkpoint and the run waits in phase BudgetExceeded until this value is raised."""


class RetriesSpec(Model):
    """How often a stage is tried again. What the world does to it (store, node, eviction, queue) is never counted: then the run waits."""

    limit: int = Field(default=3, ge=1, le=10)
    """Failed attempts of one stage after which the run has failed. A newer checkpoint clears the count."""
    pause: Pause = "10s"
    """Pause after the first of them; it doubles with each further one."""


class SERRunSpec(Model):
    """What is evolved, on which data, by which rule, with what resources, and where it is kept."""

    reward_model: RewardModelSpec
    """The model that is evolved."""
    data: DataSpec
    """The preference pairs."""
    training: TrainingSpec = TrainingSpec()
    """How a reward model is trained."""
    loop: LoopSpec = LoopSpec()
    """The self-evolution."""
    policy: PolicySpec | None = None
    """Alignment of a policy with the best reward model. Left out: the run ends with the best reward model."""
    resources: ResourcesSpec = ResourcesSpec()
    """Resources per kind of stage. May be changed at any time; running stages keep what they have, waiting ones start anew. A run that
    failed because memory was used up goes on once there is more."""
    pod_template: PodTemplate | None = None
    """What the pods of all stages have besides, as far as the administrator allows it (`allow.podTemplate` of the chart). May be changed at
    any time, as `resources`. Ignored by `ser run`."""
    retries: RetriesSpec = RetriesSpec()
    """How often a stage is tried again after a failure of its own. May be changed at any time."""
    storage: StorageSpec
    """Where everything that the run makes is kept."""
    hub: HubSpec = HubSpec()
    """The model and dataset hub."""
    from_: FromSpec | None = Field(default=None, alias="from")
    """Committed stages of that run are taken over instead of computed again, where all is equal that they depend on: the fields that the
    stage reads, the content of its inputs, threads and number of processes. Nothing is copied, and `ser purge` of that run is refused
    as long as this one is stored. Neither run waits for the other. Left out: every stage is computed."""
    suspend: bool = False
    """True stops the running stage after a checkpoint, and starts nothing until it is false again."""
    reopen: int = Field(default=0, ge=0, le=1_000_000)
    """Each rise reopens a run that has failed: it goes on at the stage that failed, all that is committed is kept, and the attempts before
    count no more. `ser retry` raises it."""
    queue_name: QueueName | None = None
    """Kueue queue of the stage Jobs. May be changed while `suspend` is true. Ignored by `ser run`."""
    active_deadline: Duration | None = None
    """Time that the run's stages may run, for example `36h`; at most ten years. Waiting does not count: in a queue, for a node or an image,
    in a pause, suspended. A run that has used it up goes on once this is raised."""
    ttl_after_finished: Duration | None = None
    """Time after the end of the run at which its last Jobs are deleted; left out: 7 days. Jobs of committed stages go ten minutes after
    their own end. Logs and data stay in the store (`ser logs`). Ignored by `ser run`."""
    budget: BudgetSpec | None = None
    """What the run may cost."""
    template_ref: TemplateRef | None = None
    """The SERRunTemplate whose fields this run has where it names none itself. It is copied into the status before the run starts; what
    becomes of the template later changes no run that has it. For `ser run` it stands in the same file, as another document."""
    operator_class: LabelValue = ""
    """Which of several operators of the cluster takes the run: the one of this class (`operatorClass` of the chart). It cannot be changed.
    Ignored by `ser run`."""

    @property
    def inputs(self) -> dict[str, str]:
        """The URIs that `prepare` reads, by field."""
        data = {"source": self.data.source, "seed": self.data.seed, "unlabeled": self.data.unlabeled, "heldout": self.data.heldout}
        found = {"rewardModel.base": self.reward_model.base}
        found |= {f"data.{name}.uri": part.uri for name, part in data.items() if part is not None}
        if self.policy is not None:
            found["policy.base"] = self.policy.base
            found |= {} if self.policy.prompts is None else {"policy.prompts.uri": self.policy.prompts.uri}
        return found

    @property
    def keeps_turns(self) -> bool:
        """Whether the tables keep the turns of prompts, which a chat template renders."""
        return "chat" in (self.reward_model.template, self.policy.template if self.policy else "")

    @model_validator(mode="after")
    def _output_beside_inputs(self) -> Self:
        for name, uri in self.inputs.items():
            if f"{self.storage.uri}/".startswith(f"{uri.rstrip('/')}/"):
                raise ValueError(f"storage.uri {self.storage.uri!r} lies inside {name} {uri!r}: store the run beside its inputs")
        return self


class Metadata(Model):
    """The part of Kubernetes' object metadata that is used. Other fields are accepted and ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    """Name of the run: a DNS subdomain."""
    namespace: Namespace = "default"
    """Namespace of the run."""
    uid: str = Field(default="", max_length=64)
    """Identity of this very object, set by the API server or by `ser run`."""
    generation: int = Field(default=1, ge=0)
    """Rises with every change of the spec."""


class SERRun(Model):
    """One self-evolved reward learning run."""

    api_version: Literal["ser.dev/v1alpha1"] = "ser.dev/v1alpha1"
    kind: Literal["SERRun"] = "SERRun"
    metadata: Metadata
    spec: SERRunSpec
    status: SERRunStatus = SERRunStatus()

    _unknown: tuple[Unknown, ...] = PrivateAttr(default=())

    @classmethod
    def read(cls, document: Document) -> Self:
        """The run in a ``document`` that another version may have written. What is not known here is ignored, and kept for `written`.

        Raises:
            ValidationError: A field that is known is wrong, or has a value that only another version knows.
        """
        run, unknown = read_known(cls, document)
        run._unknown = unknown
        return run

    def written(self) -> dict[str, Any]:
        """The run as a document, with all that `read` found in one."""
        return dict(with_unknown(self.model_dump(mode="json", by_alias=True), self._unknown))
