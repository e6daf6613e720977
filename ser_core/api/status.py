"""The status of a SERRun: what was observed and decided. Written by the planner alone, bounded in size.

A later version may have written it: fields and values that are not known here are kept (`Record`, `OpenEnum`).
Times are RFC 3339 in UTC with whole seconds (``2026-01-31T12:00:00Z``). Ratios are between 0 and 1.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from ser_core.api.model import Record
from ser_core.api.open_enum import OpenEnum

Time = Annotated[str, Field(max_length=32, json_schema_extra={"format": "date-time"}, exclude_if=lambda text: text == "")]
"""A moment as the planner writes it; empty: not known, and then left out."""
Digest = Annotated[
    str,
    Field(
        max_length=22,
        description="Of a manifest: the first 16 bytes of its SHA-256, in base64url; empty where an earlier version recorded it.",
    ),
]
"""The first 16 bytes of a SHA-256 in base64url without padding: they tell a forged manifest, and the status has room for them."""


class Phase(OpenEnum):
    """One word for humans; the conditions are the interface."""

    PENDING = "Pending"
    RUNNING = "Running"
    QUEUED = "Queued"
    WAITING = "Waiting"
    SUSPENDED = "Suspended"
    BUDGET_EXCEEDED = "BudgetExceeded"
    COMPLETED = "Completed"
    FAILED = "Failed"


TERMINAL = (Phase.COMPLETED, Phase.FAILED)
"""Phases in which nothing runs and nothing is planned, until the run is reopened (`ser_core.loop.deciding.reopening`). Each is also the
type of a condition."""


class StageKind(OpenEnum):
    """The stages of a run; the value is also the stage's folder in the store."""

    PREPARE = "prepare"
    LABEL = "label"
    FILTER = "filter"
    RETRAIN = "retrain"
    SFT = "sft"
    PPO = "ppo"
    CONTROL_FULL = "control-full"
    CONTROL_SEED_ONLY = "control-seed-only"
    CONTROL_PSEUDO_LABEL_ONCE = "control-pseudo-label-once"


class LearningStatus(OpenEnum):
    """Where a loop stands in the curriculum (arXiv 2411.00418, Eq. 3)."""

    SEED = "Seed"
    STATUS_1 = "Status1"
    STATUS_2 = "Status2"
    NEITHER = "Neither"
    STOP = "Stop"


class Outcome(OpenEnum):
    """How one attempt of a stage stands."""

    RUNNING = "Running"
    DONE = "Done"
    FAILED = "Failed"
    INTERRUPTED = "Interrupted"
    LOST = "Lost"


class Condition(Record):
    """A Kubernetes condition."""

    type: str = Field(max_length=316)
    """`Ready`, `Reconciling`, `Stalled`, `Completed`, `Failed` or `Suspended`; others are kept as they are."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(max_length=64)
    """Why, as one CamelCase word."""
    message: str = Field(default="", max_length=512)
    """Why, as a sentence; empty for most that do not hold."""
    observed_generation: int = 0
    """`metadata.generation` of the spec that it was decided for."""
    last_transition_time: Time = ""
    """When `status` changed last."""


class Monitors(Record):
    """What shows that a loop feeds on its own labels. Informs, never decides; no hidden or held-out label is in it."""

    same_labels: float | None = None
    """Share of the pairs labelled by this loop and the loop before that both label alike; one half is what two coins reach."""
    score: float = 0.0
    """Mean raw score of the answers of the pool, in logits."""
    margin: float = 0.0
    """Mean absolute difference of the two scores of a pair, in logits."""
    confidence: float | None = None
    """Mean confidence of the kept pairs."""
    right: float | None = None
    """Of the labelled pairs of the seed that what labels has not seen, and that are at least as sure as the least sure kept one, the share
    that is labelled right: what the confidence claims, measured."""
    as_sure: int | None = None
    """How many such pairs there are; only in the stage's own metrics."""
    easier: float | None = None
    """Share of the kept pairs that meet Status 1, the easier case."""


class IterationStatus(Record):
    """One loop of the evolution as shown by `kubectl get` and `ser evolution`. Iteration 0 is the seed model."""

    iteration: int
    """Number of the loop; 0 is the seed model."""
    learning_status: LearningStatus
    labeled: int = 0
    """Pairs that were labelled by the reward model."""
    kept: int = 0
    """Pairs that were trusted."""
    kept_fraction: float = 0.0
    """Kept pairs as a share of the labelled ones."""
    agreement: float | None = None
    """Share of the kept self-labels that equal the hidden human ones, where those are known. Informs, never decides."""
    dev_accuracy: float | None = None
    """Accuracy on the dev part of the seed, which decides. Under rule calibrated that of the fold models on the seed's pairs that they have
    not seen. None while the loop has not been evaluated."""
    dev_loss: float | None = None
    """Log loss on the same pairs, which decides between equal dev accuracies, and under rule calibrated alone."""
    accuracy: float | None = None
    """Accuracy on the held-out pairs, which informs."""
    accuracy_low: float | None = None
    """Lower end of its 95 % interval."""
    accuracy_high: float | None = None
    """Upper end of its 95 % interval."""
    gain: float | None = None
    """Dev accuracy minus that of the best reward model before this loop."""
    folds: int | None = None
    """Rule calibrated: fold models that were trained beside this loop's reward model."""
    loss_gain: float | None = None
    """Rule calibrated: how much lower the log loss on dev is than that of the best reward model before, pair by pair, in nats."""
    loss_gain_error: float | None = None
    """Standard error of it."""
    collapsed: bool = False
    """Whether each training of its reward model has collapsed, so that the model does not hold."""
    repeated: int | None = None
    """Trainings that were repeated since their model had collapsed, those of fold models included; None: there were none."""
    threshold: float | None = None
    """Lowest confidence that was kept (rule calibrated)."""
    temperature: float | None = None
    """What score differences are divided by, so that their sigmoid is a probability."""
    monitors: Monitors | None = None
    """What shows that the loop feeds on its own labels, in three decimals; None: an earlier version has filtered."""
    started_at: Time = ""
    """When the loop's first stage began."""
    finished_at: Time | None = None
    """When its last stage ended."""


class ControlStatus(Record):
    """One control, evaluated on the same held-out pairs."""

    control: str = Field(max_length=64)
    """Name of the control."""
    accuracy: float
    """Accuracy on the held-out pairs."""
    accuracy_low: float
    """Lower end of its 95 % interval."""
    accuracy_high: float
    """Upper end of its 95 % interval."""
    digest: Digest = ""
    """Digest of its manifest; empty: an earlier version recorded it."""


class AttemptResources(Record):
    """What an attempt has, of all that a user may change to leave a failure behind."""

    nodes: int = 1
    """Number of pods."""
    gpus: int = 0
    """GPUs of each pod."""
    cpu: str | None = Field(default=None, max_length=20)
    """CPUs of each pod; left out: no limit."""
    memory: str | None = Field(default=None, max_length=20)
    """Memory of each pod; left out: no limit."""
    tokens_per_batch: int = 0
    """Tokens of one batch, after the halving that follows an attempt which ran out of memory."""


class StageStatus(Record):
    """One attempt of a stage."""

    iteration: int
    """Loop that it belongs to; 0 for stages outside of the loops."""
    stage: StageKind
    attempt: int
    """Number of the attempt, from 1."""
    mode: str = Field(default="execute", max_length=16)
    """`execute`, or `report`: only look for the manifest."""
    job: str = Field(default="", max_length=253)
    """Name of the Job or local process."""
    outcome: Outcome = Outcome.RUNNING
    charged: bool = False
    """True when the attempt counts against `retries.limit`."""
    forgiven: bool = False
    """True when the attempt decides nothing any more: a later one left a newer checkpoint, or the run was reopened."""
    manifest: str | None = Field(default=None, max_length=1200)
    """URI of the stage's manifest."""
    manifest_sha256: str | None = Field(default=None, alias="manifestSHA256", max_length=64)
    """SHA-256 of the manifest."""
    exit_code: int | None = None
    """Exit code of the process that decided how it ended."""
    reason: str = Field(default="", max_length=64)
    """Why the attempt ended without a manifest; while it lives, why it was asked to stop; of a committed stage of a run with `spec.from`,
    TakenOver or NotTakenOver."""
    node: str = Field(default="", max_length=253)
    """Node of the pod that ended the attempt."""
    message: str = Field(default="", max_length=512)
    """The same as a sentence; of a committed stage, what decisions on it rest on."""
    checkpoint_step: int | None = None
    """Newest optimizer step that a later attempt can resume from."""
    steps: int | None = None
    """Optimizer steps of a finished training; the seedOnly control takes as many as a retrain took."""
    gpus: int = 0
    """GPUs that the attempt holds, all its pods together; fixed when it starts."""
    resources: AttemptResources | None = None
    """What the attempt has. An attempt without it, of an earlier version, had what the spec names now."""
    gpu_hours: float = 0.0
    """GPU time of all the attempt's pods, recorded when it has ended."""
    started_at: Time = ""
    """When it began; until it runs, when it was started."""
    finished_at: Time | None = None
    """When it ended."""


class CountedStatus(Record):
    """What the live attempt has taken up to a moment; the rest is read from its pods."""

    to: Time
    """The moment."""
    admitted_seconds: float = 0.0
    """Time in which any of its pods ran."""
    gpu_hours: float = 0.0
    """GPU time of all its pods."""


class ProgressStatus(Record):
    """How far the running stage is. Written at most once a minute, and only when it has moved by five points."""

    percent: int = Field(ge=0, le=100)
    """Done, in percent."""
    step: int
    """Done, in units."""
    total: int
    """To do in all, in units."""
    unit: str = Field(max_length=16)
    """What is counted: `pairs`, `steps`, `KiB`."""
    updated_at: Time
    """When it was asked for."""


class RewardModelStatus(Record):
    """The best reward model so far."""

    uri: str = Field(max_length=1200)
    """URI of the manifest of its `retrain`."""
    manifest_sha256: str = Field(alias="manifestSHA256", max_length=64)
    """SHA-256 of the manifest."""
    accuracy: float
    """Its accuracy on the held-out pairs."""
    pairs: int | None = None
    """The held-out pairs; None: an earlier version recorded it."""
    groups: int | None = None
    """Groups that they are in (`splitBy`), which intervals count; None: not known."""
    length_only_accuracy: float | None = None
    """What the rule "the longer answer wins" reaches on them."""
    cut_fraction: float | None = None
    """Share of its training pairs that lost tokens to `rewardModel.maxLength`."""


class PolicyStatus(Record):
    """The aligned policy. Scores are means of the best reward model's raw logits on the held-out prompts, on which PPO never learns."""

    uri: str = Field(max_length=1200)
    """URI of the manifest of `ppo`."""
    manifest_sha256: str = Field(alias="manifestSHA256", max_length=64)
    """SHA-256 of the manifest."""
    score: float
    """After the last PPO step that was kept."""
    baseline_score: float
    """Before the first PPO step, on the same prompts."""
    kl: float
    """Mean KL of a whole answer from the reference policy, in nats."""
    steps: int
    """PPO steps that the policy has taken."""
    stopped: str = Field(default="", max_length=64)
    """The sign of reward hacking that ended PPO early; empty: there was none."""


class StoredBytes(Record):
    """What a run stores, in bytes by kind, as counted when its last stage was committed."""

    base_models: int = 0
    """Copies of the models that it began with."""
    reward_models: int = 0
    """Those of all loops and controls."""
    fold_models: int = 0
    """Those beside them (`loop.folds`)."""
    policies: int = 0
    """Of `sft` and `ppo`."""
    checkpoints: int = 0
    """Of stages that are not done."""
    records: int = 0
    """Tables, manifests and logs."""

    def by_kind(self) -> dict[str, int]:
        """The kinds of which there is something, in words, the largest first."""
        found = {name.replace("_", " "): getattr(self, name) for name in StoredBytes.model_fields}
        return {kind: size for kind, size in sorted(found.items(), key=lambda item: -item[1]) if size}


class TemplateStatus(Record):
    """The SERRunTemplate of the run, as it was when the run began."""

    name: str = Field(max_length=253)
    """Name of the SERRunTemplate."""
    spec: dict[str, Any]
    """Its spec. The run is what its own spec says over this one."""


class SERRunStatus(Record):
    """What was observed and decided."""

    phase: Phase = Phase.PENDING
    stage: StageKind | None = None
    iteration: int = 0
    """Loop that the run is in, or was last."""
    best_iteration: int | None = None
    """Loop of the best reward model; 0: the seed model."""
    learning_status: LearningStatus | None = None
    message: str = Field(default="", max_length=512)
    """What happens now, or why nothing does, as a sentence."""
    waiting_since: Time | None = None
    """Since when the run waits for the world: a queue, a node, the store. It stays while attempts in between find nothing changed."""
    observed_generation: int = 0
    """`metadata.generation` of the spec that was read last."""
    conditions: tuple[Condition, ...] = Field(default=(), max_length=16)
    """The state as conditions in the manner of kstatus, for `kubectl wait` and other tools."""
    reward_model: RewardModelStatus | None = None
    policy: PolicyStatus | None = None
    gpu_hours: float = 0.0
    """GPU time of all pods of all ended attempts, which the budget counts."""
    admitted_seconds: float | None = None
    """Time in which any pod of an ended attempt ran, which the deadline counts."""
    counted: CountedStatus | None = None
    """What the live attempt has taken so far, written every ten minutes and when a pod of it is gone."""
    iterations: tuple[IterationStatus, ...] = Field(default=(), max_length=33)
    """The seed model and every loop after it."""
    digests: tuple[Digest, ...] = Field(default=(), max_length=33)
    """Digests of the manifests of the reward models: of the seed model, then loop by loop. A manifest names what its stage has read by
    digest, and so on. An empty one was recorded by an earlier version."""
    controls: tuple[ControlStatus, ...] = Field(default=(), max_length=3)
    """Reward models that were trained for comparison."""
    stages: tuple[StageStatus, ...] = Field(default=(), max_length=64)
    """Attempts that a later decision needs: the committed stages that are still inputs, the live attempt, the last 8 failures."""
    progress: ProgressStatus | None = None
    """How far the running stage is."""
    stored: StoredBytes | None = None
    template: TemplateStatus | None = None
    """The copy of the SERRunTemplate that `spec.templateRef` names."""
    image: str = Field(default="", max_length=512)
    """Image of the stages, frozen at the first commit."""
    stage_spec_version: int = 0
    """Version of the stage contract, frozen at the first commit."""
    threads: int = 0
    """Threads of a stage whose resources name no CPUs, frozen at the first commit: results depend on it in the last bits."""
    judged: str = Field(default="", max_length=64)
    """Digest of what may be changed later, as the operator's allow-lists have let it through: a change of it is judged again."""
    reopened: int = 0
    """The last `spec.reopen` that was honoured."""
    started_at: Time | None = None
    """When the first stage was started."""
    finished_at: Time | None = None
    """When the run ended."""
    suspended_at: Time | None = None
    """Since when it is suspended."""
    suspended_seconds: int = 0
    """Time spent suspended."""

    @property
    def best(self) -> IterationStatus | None:
        """The row of the best reward model; None: there is none yet."""
        return next((row for row in self.iterations if row.iteration == self.best_iteration), None)

    @property
    def has_ended(self) -> bool:
        """Whether the run is over, also by the word of another version: a phase that is not known here, and the time of an end or its
        condition."""
        if self.phase in TERMINAL:
            return True
        told = any(one.type in TERMINAL and one.status == "True" for one in self.conditions)
        return (not self.phase.is_known or "phase" not in self.model_fields_set) and (told or self.finished_at is not None)
