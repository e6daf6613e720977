"""The stage contract: what a stage process is told, and what it reports.

In: a `StageSpec` as JSON in the environment variable ``SER_STAGE`` (``ser_core.api.stage_wire``). Out: a manifest in the store, a
`StageResult` of at most 4,096 bytes JSON in the file named by ``SER_TERMINATION_MESSAGE`` (in a pod: ``/dev/termination-log``), and an
exit code (``ser_core.errors``). Standard output carries one JSON event a line.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from ser_core.api.model import Model, Record
from ser_core.api.serrun import Metadata, SERRunSpec
from ser_core.api.status import LearningStatus, Monitors, StageKind, StoredBytes

STAGE_SPEC_VERSION: Final = 1
MAX_RESULT_BYTES = 4096

TAKEN_OVER = "TakenOver"
"""Reason of a result that is done: the stage was taken over from the run that `spec.from` names."""
NOT_TAKEN_OVER = "NotTakenOver"
"""The same: the run has `spec.from`, and the stage was computed all the same; the message says why."""


class RunIdentity(Record):
    """Which run a stage belongs to. The UID tells a re-created run from its namesake."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, metadata: Metadata) -> "RunIdentity":
        """How the stages of a run name it."""
        return cls(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)


class ManifestRef(Record):
    """A committed stage that another one reads. The digest pins its content."""

    stage: StageKind
    iteration: int
    uri: str
    sha256: str


class InputRole(StrEnum):
    """What an input means to the stage that reads it."""

    PREPARED = "prepared"
    """prepare: the split data and the base model."""
    LABELER = "labeler"
    """retrain: the reward model that labels, or whose labels are filtered; `previous` also continues its weights."""
    LABELS = "labels"
    """label: the scores of the pool."""
    KEPT = "kept"
    """filter of this loop: the trusted pairs."""
    KEPT_BEFORE = "keptBefore"
    """filter of the loop before, with whose labels filter compares its own; rule paper trains on it too, rule reference labels only what it
    left."""
    BEST = "best"
    """retrain: the best reward model so far, which the new one is compared with, or which the policy learns from."""
    WITNESS = "witness"
    """retrain: the seed's reward model, from which PPO does not learn; left out when it is the best one itself."""
    POLICY = "policy"
    """sft: the policy that PPO starts from; left out: that of prepare."""


class Processes(Model):
    """What computes a stage, as far as its results depend on it in the last bits."""

    count: int = Field(default=1, ge=1)
    on_gpus: bool = False


class StageSpec(Model):
    """Everything that a stage needs to know. Equal specs give equal output digests on equal processors."""

    version: Literal[1] = STAGE_SPEC_VERSION
    run: RunIdentity
    stage: StageKind
    iteration: int = Field(ge=0)
    attempt: int = Field(ge=1)
    mode: Literal["execute", "report"] = "execute"
    """`report` only looks for the manifest and reports it again (exit 3: there is none)."""
    spec: SERRunSpec
    """The run's spec. Stages read the immutable part only."""
    inputs: dict[InputRole, ManifestRef] = Field(default_factory=dict)
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps to take in place of training.epochs (seedOnly)."""
    threads: int = Field(ge=1)
    """Threads of every library. Part of the inputs, since sums depend on it in the last bits."""
    processes: Processes | None = None
    """What would compute the stage, for a process that only looks whether another run has done so; None without `spec.from`."""


class Comparison(Record):
    """Pairs that exactly one of two reward models gets right."""

    only_this: int
    only_best: int
    p_value: float
    """Two-sided, by the randomization test over groups of pairs; where each pair is one, McNemar's exact test."""


class Evaluation(Record):
    """One reward model on one set of labelled pairs. A pair with equal scores counts as wrong."""

    pairs: int
    accuracy: float
    accuracy_low: float
    """Lower end of the 95 % interval: Wilson's, of as many independent pairs as the groups of pairs are worth."""
    accuracy_high: float
    length_only_accuracy: float
    """What the rule "the longer answer wins" reaches on the same pairs."""
    calibration_error: float
    """Expected calibration error of sigmoid(difference / temperature), 10 equally filled bins."""
    log_loss: float
    """Mean of -log sigmoid(difference / temperature)."""
    versus_best: Comparison | None = None
    """Against the best reward model before this one, on the same pairs."""
    groups: int | None = None
    """Groups that the pairs are in (`splitBy`); None: they were not known, so interval and p treat pairs as independent."""


class PrepareMetrics(Record):
    """What `prepare` found and made."""

    kind: Literal["prepare"] = "prepare"
    found: str
    """What the source turned out to be, for example `jsonl.gz, preference pairs with explicit prompt, text`."""
    rows: int
    seed: int
    """Labelled pairs that are trained on."""
    dev: int
    """Labelled pairs that decide."""
    pool: int
    """Pairs whose labels are hidden."""
    heldout: int
    hidden_labels: bool
    """True when the labels of the pool are known, so that the agreement can be reported."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Unusable rows by reason."""
    shared_prompts: int | None = None
    """Groups (`splitBy`; without it prompts) that both the seed and the pool have. None: an earlier version, which did not count them."""
    warnings: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()
    """Later stages that no GPU of `resources` holds by the memory plan, each with what would help."""


class LabelMetrics(Record):
    """What `label` did."""

    kind: Literal["label"] = "label"
    labeled: int
    truncated: int
    """Pairs that lost tokens to maxLength."""


class FilterMetrics(Record):
    """What `filter` decided."""

    kind: Literal["filter"] = "filter"
    learning_status: LearningStatus
    labeled: int
    status1: int
    """Pairs that meet Status 1."""
    status2: int
    """Pairs that meet Status 2."""
    kept: int
    kept_fraction: float
    threshold: float | None = None
    """Lowest confidence that was kept (calibrated)."""
    agreement: float | None = None
    """Share of kept self-labels that equal the hidden human ones."""
    agreement_all: float | None = None
    """The same over the whole pool."""
    notes: tuple[str, ...] = ()
    """Why nothing was kept, which decision rests on too few labels to be significant, or that the pool is unlike the seed."""
    monitors: Monitors | None = None
    """What shows that the loop feeds on its own labels; None: nothing was labelled, or an earlier version has filtered."""


class RetrainMetrics(Record):
    """What a `retrain` or a control made."""

    kind: Literal["retrain"] = "retrain"
    steps: int
    seed_pairs: int
    self_labeled_pairs: int
    truncated: int
    """Pairs of the training that lost tokens to maxLength."""
    temperature: float
    """Divides score differences so that their sigmoid is a probability; fitted on the dev part (and, for a small one, the
    cross-fitted seed), under rule calibrated on the out-of-fold scores."""
    dev: Evaluation
    """On the dev part; under rule calibrated on the whole seed, each pair by the fold model that has not seen it."""
    heldout: Evaluation
    folds: int | None = None
    """Fold models that are stored beside it; None: it was not cross-fitted, and a dev part decides."""
    learning_rate: float | None = None
    """The rate that `training.search` found; None: nothing was searched."""
    epochs: int | None = None
    """The epochs that it found."""
    trainings: int = 1
    """One, and one for each training that was repeated since its model had collapsed, fold models included."""
    collapsed: bool = False
    """Whether the last of them has collapsed too, so that this reward model does not hold; the first note says why."""
    loss_gain: float | None = None
    """How much lower its out-of-fold log loss is than that of the best reward model before, pair by pair, in nats; None: not compared."""
    loss_gain_error: float | None = None
    """Standard error of it, with groups of pairs as units."""
    notes: tuple[str, ...] = ()


class SupervisedMetrics(Record):
    """What `sft` did."""

    kind: Literal["sft"] = "sft"
    steps: int
    answers: int
    """Chosen answers of the seed that were learnt."""
    truncated: int
    """Rows that were cut to promptTokens and answerTokens."""
    first_loss: float
    """Mean over an answer's tokens of the first logged step, in nats."""
    last_loss: float


class PolicyEvaluation(Record):
    """One policy's answers to the held-out prompts, sampled with the same random numbers."""

    score: float
    """Mean of the best reward model's raw score, in logits."""
    witness_score: float | None = None
    """The same of the witness; None: there is none, since the seed's reward model is the best one."""
    kl: float
    """Mean KL of a whole answer from the reference policy, ``log policy - log reference``, in nats."""
    answer_tokens: float
    """Mean length, the end token included."""
    ended: float
    """Share of answers that ended within answerTokens."""
    distinct: float | None = None
    """Share of answers that are different ones; None: an earlier version did not count them."""


class PolicyMetrics(Record):
    """What `ppo` made."""

    kind: Literal["ppo"] = "ppo"
    steps: int
    """PPO steps taken."""
    kept_step: int
    """The step whose policy was kept: the last one, unless a sign of reward hacking ended it."""
    prompts: int
    """Distinct prompts to learn on."""
    heldout_prompts: int
    """Prompts of the evaluations."""
    before: PolicyEvaluation
    after: PolicyEvaluation
    change_low: float | None = None
    """Lower end of the 95 % interval of the mean change of the score, prompt by prompt; None: one prompt alone has no interval."""
    change_high: float | None = None
    critic: str
    """What the critic was made of: `rewardModel` or `policy`; empty: there was none (`policy.advantage: rloo`)."""
    stopped: str = Field(default="", max_length=64)
    """The sign of reward hacking that ended it; empty: there was none."""
    notes: tuple[str, ...] = ()


class UnknownMetrics(Record):
    """What a stage of a later version measured."""

    kind: str


def _kind(metrics: Any) -> str:
    kind = metrics.get("kind") if isinstance(metrics, dict) else getattr(metrics, "kind", None)
    return str(kind) if kind in ("prepare", "label", "filter", "retrain", "sft", "ppo") else "unknown"


StageMetrics = Annotated[
    Annotated[PrepareMetrics, Tag("prepare")]
    | Annotated[LabelMetrics, Tag("label")]
    | Annotated[FilterMetrics, Tag("filter")]
    | Annotated[RetrainMetrics, Tag("retrain")]
    | Annotated[SupervisedMetrics, Tag("sft")]
    | Annotated[PolicyMetrics, Tag("ppo")]
    | Annotated[UnknownMetrics, Tag("unknown")],
    Discriminator(_kind),
]


class StageResult(Record):
    """What a stage process reports, in at most 4,096 bytes of JSON."""

    outcome: str = Field(max_length=64)
    """`done`, `superseded`, `absent`, `failed` or `interrupted`; of any other the exit code decides."""
    manifest: ManifestRef | None = None
    metrics: StageMetrics | None = None
    reason: str = Field(default="", max_length=64)
    message: str = Field(default="", max_length=900)
    hint: str = Field(default="", max_length=300)
    checkpoint_step: int | None = None
    """Newest optimizer step that a later attempt can resume from."""
    stored: StoredBytes | None = None
    """What the run stores after a stage is done; None: it could not be counted."""
