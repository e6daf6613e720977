"""The SERRun resource as the user writes it. The docs under the fields are the manual (`kubectl explain`).

Bounds and cross-field rules stand here once; ``ser_core.api.crd`` turns them into the CRD's schema and CEL rules.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from ser_core.api.adapter import AdapterSpec
from ser_core.api.amounts import Cpus, Duration, Memory, Pause
from ser_core.api.forms import (
    LABEL_KEYS,
    NEW,
    DataKey,
    Endpoint,
    LabelKey,
    LabelValue,
    Name,
    Namespace,
    PriorityClass,
    QueueName,
    Region,
    SecretName,
)
from ser_core.api.guarded import AllowList, Guarded
from ser_core.api.known_part import Document, Unknown, read_known, with_unknown
from ser_core.api.model import Model
from ser_core.api.places import ColumnName, PlaceSpec
from ser_core.api.pod_template import PodTemplate
from ser_core.api.policy import PolicySpec
from ser_core.api.quantity import quantity
from ser_core.api.status import SERRunStatus
from ser_core.api.template import TemplateKind, TemplateText, refuse_template
from ser_core.api.uris import ModelUri, StorageUri

API_VERSION = "ser.dev/v1alpha1"
KIND = "SERRun"
MAX_ITERATIONS = 32
FOLDS = 4
"""Folds of rule calibrated where the spec names none."""

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Rule(StrEnum):
    """How a loop chooses the pairs that it trusts (docs/architecture.md, "Learning rules")."""

    CALIBRATED = "calibrated"
    PAPER = "paper"
    REFERENCE = "reference"


class Control(StrEnum):
    """A reward model trained for comparison, on the same split and evaluated on the same held-out pairs."""

    FULL = "full"
    SEED_ONLY = "seedOnly"
    PSEUDO_LABEL_ONCE = "pseudoLabelOnce"


class RewardModelSpec(Model):
    """The model that is evolved."""

    base: ModelUri
    """Model to start from: `hf://organisation/name`, `s3://bucket/prefix`, or `file://` (only `ser run`). Safetensors only."""
    revision: str | None = Field(default=None, min_length=1, max_length=200)
    """Branch, tag or commit on the hub. `prepare` resolves it to a commit, and every later stage reads the copy in the store."""
    max_length: int = Field(default=1024, ge=16, le=131072)
    """Tokens of prompt and answer together. Longer pairs lose the beginning of the prompt first, and are counted."""
    adapter: AdapterSpec | None = None
    """LoRA settings; null trains all weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the trunk; the score head is always fp32. `auto`: bf16 on GPUs that have it and on CPUs with avx512_bf16 or
    amx_bf16, else fp32."""
    template: TemplateKind = "reference"
    """The text in which a decoder reads prompt and answer. `reference`: `Question: … Answer: …`, as the paper's code has it. `chat`: by the
    chat template of the base's tokenizer, system and earlier turns included. `custom`: `templateText`. Encoders read text pairs, and take
    `reference` alone."""
    template_text: TemplateText | None = None
    """The text of template `custom`: any text with `{prompt}` in it and `{answer}` at its end. The tokenizer's begin and end tokens are put
    around it. A prompt of several turns stands there as `Human: … Assistant: … Human: …`."""

    @property
    def custom_text(self) -> str | None:
        """The text of template `custom`; None with another one."""
        text = self.template_text
        return text if self.template == "custom" else None

    @model_validator(mode="after")
    def _text_of_the_template(self) -> Self:
        refuse_template(self.template, self.template_text)
        return self


COLUMN_PAIRS = (("chosen", "rejected"), ("response_1", "response_2"), ("score_1", "score_2"))
"""Keys of `Columns` of which one says nothing without the other."""


def pair_wanted(pair: tuple[str, str]) -> str:
    """What is said where one of two keys that go together is missing."""
    return f"{pair[0]} and {pair[1]} go together: name both"


class Columns(Model):
    """Which column of the data holds what, where the names are others than those of docs/data-formats.md. Other columns are ignored.

    The answers are `chosen` and `rejected`; or `response_1` and `response_2` with `better`, or with `score_1` and `score_2`."""

    prompt: ColumnName | None = None
    """The prompt, as text or messages. Left out: what `chosen` and `rejected` share."""
    system: ColumnName | None = None
    """A system message, which is put in front of the prompt."""
    chosen: ColumnName | None = None
    """The better answer."""
    rejected: ColumnName | None = None
    """The worse answer."""
    response_1: ColumnName | None = Field(default=None, alias="response_1")
    """One answer."""
    response_2: ColumnName | None = Field(default=None, alias="response_2")
    """The other answer."""
    better: ColumnName | None = None
    """Which of the two answers is better: 1, 2 or `tie`."""
    score_1: ColumnName | None = Field(default=None, alias="score_1")
    """A number for `response_1`. The answer with the higher one is better; equal ones are a tie."""
    score_2: ColumnName | None = Field(default=None, alias="score_2")
    """The number for `response_2`."""
    weight: ColumnName | None = None
    """A number above zero for each pair: its part in the loss, after all are scaled to a mean of 1. With `score_1` and `score_2` also the
    word `scores`, if no column is called so: the difference of the two."""
    id: ColumnName | None = None
    """The row's own name, which must not name two different pairs."""

    @model_validator(mode="after")
    def _both_of_a_pair(self, info: ValidationInfo) -> Self:
        for pair in COLUMN_PAIRS if info.context == NEW else ():
            if len([name for name in pair if getattr(self, name) is None]) == 1:
                raise ValueError(pair_wanted(pair))
        return self


class FileSpec(PlaceSpec):
    """One data file or dataset with preference pairs."""

    columns: Columns | None = None
    """Names of the columns; null where they are known (docs/data-formats.md)."""


class SourceSpec(FileSpec):
    """One labelled source that `prepare` splits into seed, pool and held-out."""

    seed_fraction: Fraction = 0.15
    """Share of the pairs whose labels may be used. The labels of the rest are hidden from every decision."""
    heldout_fraction: Fraction = 0.1
    """Share of the pairs that is held out: it is reported on and decides nothing."""
    split_by: str = Field(default="prompt", min_length=1, max_length=100)
    """Rows that share this value always stay together: `prompt`, `firstTurn` (a dialogue's first user turn), or any column."""

    @model_validator(mode="after")
    def _leaves_a_pool(self) -> Self:
        total = self.seed_fraction + self.heldout_fraction
        if total >= 1:
            raise ValueError(
                f"seedFraction {self.seed_fraction} + heldoutFraction {self.heldout_fraction} = {total:g} leaves no pool: "
                "keep the sum below 1"
            )
        return self


class DataSpec(Model):
    """Either one labelled `source` that is split, or the three files `seed`, `unlabeled` and `heldout`."""

    source: SourceSpec | None = None
    """One labelled source; the seed, the pool and the held-out part are split from it."""
    seed: FileSpec | None = None
    """Labelled pairs: the label budget."""
    unlabeled: FileSpec | None = None
    """Pairs to be labelled by the reward model. Labels found in it are hidden, and used only to report the agreement."""
    heldout: FileSpec | None = None
    """Labelled pairs that are reported on and decide nothing."""
    dev_fraction: Fraction = 0.25
    """Share of the seed that becomes the dev part. It is never trained on. It fits the temperature, chooses the best loop, and ends the
    loops. Rule calibrated does not need it: it trains on every label, and decides on out-of-fold scores of the whole seed."""
    split_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Random seed of the split alone, so that runs that differ in `training.seed` are measured on the same held-out pairs."""
    max_dropped_fraction: Fraction = 0.1
    """Share of unusable rows above which `prepare` fails instead of dropping them."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        files = {"seed": self.seed, "unlabeled": self.unlabeled, "heldout": self.heldout}
        given = [name for name, value in files.items() if value is not None]
        missing = [name for name, value in files.items() if value is None]
        if self.source is not None and given:
            raise ValueError(f"source and {', '.join(given)} exclude each other: give source alone, or seed, unlabeled and heldout")
        if self.source is None and missing:
            raise ValueError(f"{', '.join(missing)} missing: give source alone, or seed, unlabeled and heldout")
        return self


MIN_TOKENS_PER_BATCH = 64
CPU_TOKENS_PER_BATCH = 2048
"""Larger batches gain nothing on a CPU and only pad more."""


class SearchSpec(Model):
    """Settings that the seed model is tried with. Every pair of a rate and a number of epochs is one trial, of `loop.folds` trainings."""

    learning_rates: tuple[Annotated[float, Field(gt=0, le=1, description="A peak rate of AdamW.")], ...] = Field(default=(), max_length=4)
    """Rates to try in place of `training.learningRate`; none: that one."""
    epochs: tuple[Annotated[int, Field(ge=1, le=100, description="Passes over the training pairs.")], ...] = Field(default=(), max_length=4)
    """Numbers of epochs to try in place of `training.epochs`; none: that one."""


class TrainingSpec(Model):
    """How a reward model is trained, the same in every loop."""

    epochs: int = Field(default=2, ge=1, le=100)
    """Passes over the training pairs of a loop."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """Peak rate of AdamW, after a linear warm-up over 10 % of the steps; then it falls linearly to zero."""
    pairs_per_step: int = Field(default=64, ge=1, le=65536)
    """Pairs in one optimizer step, whatever the micro-batches."""
    tokens_per_batch: int = Field(default=8192, ge=MIN_TOKENS_PER_BATCH, le=4194304)
    """Tokens of one micro-batch or scoring batch, padding included, of reward model and policy; a CPU takes at most 2,048. It does not
    change what a step learns. A stage that runs out of memory is tried once more with half as many. May be lowered at any time."""
    loss: Literal["bradley-terry", "hinge"] = "bradley-terry"
    """Bradley-Terry on the score difference (arXiv 2411.00418, released code), or the hinge with a margin (the paper's Eq. 5)."""
    margin: float = Field(default=1.0, gt=0, le=100)
    """Margin of the hinge loss, in logits. Ignored by bradley-terry."""
    centering: float = Field(default=0.01, ge=0, le=10)
    """Weight of the squared sum of a pair's two scores, which keeps the scores around zero. 0 switches it off."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Random seed of the head's initial values, the order of the pairs, and of all that the policy samples."""
    search: SearchSpec | None = None
    """Rule calibrated: rates and epochs of which the seed model takes those with the lowest out-of-fold log loss. Later loops and the
    controls use them too. Left out: `learningRate` and `epochs` as they are."""


class ThresholdsSpec(Model):
    """What a pair must reach to be trusted. Probabilities are sigmoids of one score (arXiv 2411.00418, Eq. 3)."""

    high: Probability = 0.55
    """Rules paper and reference, Status 1: the better answer's probability is above this."""
    low: Probability = 0.45
    """Rules paper and reference, Status 1: the worse answer's probability is below this."""
    delta: Probability = 0.30
    """Rules paper and reference, Status 2: the two probabilities differ by at least this."""
    min_samples: int = Field(default=600, ge=1, le=10_000_000)
    """Rule paper: pairs that a status needs before it is trained on (600 in the paper for HH; scale it with the pool)."""
    target_precision: float | None = Field(default=None, gt=0.5, lt=1)
    """Rule calibrated with `loop.folds`: a floor; of the most confident pairs only those are kept from which on this share of the seed's
    out-of-fold labels is right. Left out: no floor. Given without `loop.folds`: the rule of version 0.1.0, which keeps all pairs from that
    confidence on, as measured on the dev part."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        return self


class StoppingSpec(Model):
    """When the evolution ends before maxIterations. Decided on the dev part of the seed alone."""

    min_gain: float = Field(default=0.0, ge=0, le=1)
    """Dev accuracy that a loop must add to the best one so far to count as a gain; with 0 any rise counts, and at the same accuracy
    a lower log loss on dev. Ignored by rule calibrated, which compares log losses."""
    patience: int | None = Field(default=None, ge=0, le=MAX_ITERATIONS)
    """Loops in a row without a gain that are tolerated; one more ends the loops. Under rule calibrated those count whose out-of-fold log
    loss is worse than the best one by more than a standard error. Left out: 1 for calibrated, maxIterations for paper and reference, which
    have no such end. With rollback `best` none is tolerated: the same reward model would label again and give the same result."""
    rollback: Literal["best", "none"] | None = None
    """`best`: the loops end at the first one that does not become the best, since the best reward model would only repeat it. `none`: the
    latest reward model labels, better or not. Left out: `none`, and `best` for the rule calibrated of version 0.1.0."""


class LoopSpec(Model):
    """The self-evolution: label, filter, retrain, repeat."""

    max_iterations: int = Field(default=4, ge=1, le=MAX_ITERATIONS)
    """Loops after the seed model. May be raised until the policy stage begins; a completed run without a policy then goes on, unless the
    loops had ended for another reason."""
    rule: Rule = Rule.CALIBRATED
    """`calibrated`: the pairs on which the mean of cross-fitted models is most confident. `paper` and `reference`: arXiv 2411.00418 as
    written, and as its code does it."""
    folds: int | None = Field(default=None, ge=2, le=16)
    """Rule calibrated: models that each loop trains beside the final one, each without one part of the seed. They label the pool, and their
    scores of what they have not seen decide. Left out: 4, or none where `thresholds.targetPrecision` is given. 2 where training is dear."""
    thresholds: ThresholdsSpec = ThresholdsSpec()
    """What a pair must reach to be trusted."""
    retrain_from: Literal["base", "previous"] | None = None
    """Weights that a loop starts from. Left out: `base` for calibrated, `previous` for paper and reference."""
    stopping: StoppingSpec = StoppingSpec()
    """When the evolution ends early."""
    controls: tuple[Control, ...] = Field(default=(), max_length=3)
    """Reward models trained for comparison: `full` (all labels), `seedOnly` (the seed, for as many steps as the best loop took),
    `pseudoLabelOnce` (all pairs labelled once, unfiltered)."""

    @field_validator("controls")
    @classmethod
    def _distinct(cls, controls: tuple[Control, ...]) -> tuple[Control, ...]:
        if len(set(controls)) != len(controls):
            raise ValueError(f"controls {', '.join(controls)} names one twice: list each control once")
        return controls

    @property
    def fold_count(self) -> int | None:
        """Folds that are asked for; None: no cross-fitting in every loop. A target precision alone is how runs of version 0.1.0 look."""
        if self.rule is not Rule.CALIBRATED:
            return None
        return FOLDS if self.folds is None and self.thresholds.target_precision is None else self.folds

    @property
    def patience(self) -> int:
        """Loops in a row without a gain that are tolerated."""
        if self.stopping.patience is not None:
            return self.stopping.patience
        return 1 if self.rule is Rule.CALIBRATED else self.max_iterations

    @property
    def starts_from_previous(self) -> bool:
        """True when a loop continues the weights of the model that labelled."""
        if self.retrain_from is not None:
            return self.retrain_from == "previous"
        return self.rule is not Rule.CALIBRATED


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
            raise ValueError(f"operator {self.operator} {'takes no value' if self.value else 'needs a key'}")
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
    """Memory request and limit of each pod, from 16Mi to 64Ti."""
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


class AuthoritiesFrom(Model):
    """One key of a Secret or ConfigMap of the run's namespace, with certificates in PEM."""

    secret: SecretName | None = None
    """Name of the Secret; or give `configMap`."""
    config_map: Name | None = None
    """Name of the ConfigMap; or give `secret`."""
    key: DataKey = "ca.crt"
    """The key in it."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("give either secret or configMap")
        return self


class StorageAccess(Model):
    """How the storage is reached, and what is kept in it."""

    endpoint: Endpoint | None = None
    """URL of an S3-compatible server, without credentials; left out: AWS."""
    region: Region | None = None
    """Region of the bucket; left out: AWS_REGION, else us-east-1."""
    ca_bundle: str | None = Field(default=None, max_length=1000)
    """PEM file with the certificate authorities to trust for the endpoint. On a cluster stages take `caBundleFrom` in its place."""
    ca_bundle_from: AuthoritiesFrom | None = None
    """Where the stages on a cluster find these authorities. `ser` itself uses `caBundle`, else AWS_CA_BUNDLE."""
    addressing: Literal["path", "virtual"] | None = None
    """Where a request names the bucket: in its path, or in the host name. Left out: `path` for an `endpoint`, else as AWS does."""
    credentials_secret: SecretName | None = None
    """Name of the Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, mounted into the stages. `ser run`
    uses the AWS environment and files instead."""
    retain: Literal["best", "all"] = "all"
    """`all` keeps every reward model. `best` removes the weights of those that nothing needs any more while the run goes on: the best
    one stays, without a policy also the newest, since loops may follow; evaluations and labels stay too. A run that another one took
    stages over from keeps all."""


class StorageSpec(StorageAccess):
    """Where everything that the run makes is kept."""

    uri: StorageUri
    """`s3://bucket/prefix`, or `file://` (only `ser run`; `file://./x` is relative to the SERRun's own file)."""


class HubSpec(Model):
    """The model and dataset hub. Only `prepare` reaches it."""

    endpoint: Endpoint | None = None
    """URL of a hub or mirror; left out: HF_ENDPOINT, else the public hub."""
    credentials_secret: SecretName | None = None
    """Name of the Secret with HF_TOKEN for gated models. `ser run` uses HF_TOKEN from the environment instead."""


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
