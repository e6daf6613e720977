"""The tables that stages hand on, each a frozen dataclass per row and a parquet file per table.

| file | rows | written by |
|---|---|---|
| seed.parquet, dev.parquet, heldout.parquet | `LabeledPair` | prepare |
| groups.parquet | `PairGroup`, one a labelled pair or tie, and one a pool pair in the group of such a one | prepare |
| pool_groups.parquet (only where splitBy is a column) | `PairGroup`, one a pool pair | prepare; read by `ser suggest` alone |
| ties.parquet (only where there are any) | `TiedPair` | prepare |
| weights.parquet, pool_weights.parquet (only where data.*.columns names a weight) | `PairWeight` | prepare |
| margins.parquet, pool_margins.parquet (only where data.*.columns names a margin) | `PairMargin` | prepare |
| pool.parquet | `PoolPair` | prepare |
| pool_labels.parquet (only when known) | `HiddenLabel` | prepare; read to report, never to decide |
| labels.parquet | `PairScores` | label |
| fold_labels.parquet (only with fold models) | `FoldScores`, one a labelled pair and fold | label |
| decisions.parquet | `Decision`, one a labelled pair | filter |
| fold_decisions.parquet (only with fold models) | `FoldDecision`, one a pair that a fold keeps | filter |
| dev_scores.parquet, heldout_scores.parquet | `EvaluatedPair` | retrain |
| calibration.parquet | `CalibrationPair` | retrain |
| training.parquet | `TrainingStep` | retrain |
| prompts.parquet (only with policy.prompts) | `PolicyPrompt` | prepare |
| sft.parquet | `SupervisedStep` | sft |
| ppo.parquet | `PolicyStep` | ppo |
"""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from ser_core.data.taking import take


@dataclass(frozen=True, slots=True)
class LabeledPair:
    """A preference pair with its human label: ``chosen`` is the better answer."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    source: str


@dataclass(frozen=True, slots=True)
class TiedPair:
    """A pair of the seed or its dev part of which neither answer is better. It is learnt with target one half, and judges no model."""

    id: str
    prompt: str
    answer_1: str
    answer_2: str
    side: str
    """`seed` or `dev`."""


@dataclass(frozen=True, slots=True)
class PairWeight:
    """How much a labelled pair counts in the loss beside the others; a pair without a row counts as much as the mean."""

    id: str
    weight: float


@dataclass(frozen=True, slots=True)
class PairMargin:
    """What the loss subtracts from the difference of a labelled pair's scores, in logits; nothing for a pair without a row."""

    id: str
    margin: float


@dataclass(frozen=True, slots=True)
class PairGroup:
    """The group that a pair is in: pairs of one group share a prompt or a value of `splitBy`, so they are no independent ones."""

    id: str
    group: str
    """The lowest id of the group."""


@dataclass(frozen=True, slots=True)
class PoolPair:
    """A pair whose label is unknown or hidden. Which side is the better one is a coin toss of the seed."""

    id: str
    prompt: str
    answer_1: str
    answer_2: str
    source: str

    @property
    def characters(self) -> int:
        """Length of its two rows, in place of tokens: to count those, every process would have to encode the whole pool."""
        return 2 * len(self.prompt) + len(self.answer_1) + len(self.answer_2)


@dataclass(frozen=True, slots=True)
class HiddenLabel:
    """The human label of a pool pair: ``better`` is 1 or 2."""

    id: str
    better: int


@dataclass(frozen=True, slots=True)
class PairScores:
    """The reward model's raw logits of a pool pair, and each answer's length in tokens before truncation.

    Where there are fold models the logits are the means of theirs.
    """

    id: str
    score_1: float
    score_2: float
    tokens_1: int
    tokens_2: int

    @property
    def margin(self) -> float:
        """By how much the first answer scores more."""
        return self.score_1 - self.score_2


@dataclass(frozen=True, slots=True)
class FoldScores:
    """One fold model's raw logits of a pool pair."""

    id: str
    fold: int
    score_1: float
    score_2: float

    @property
    def margin(self) -> float:
        """By how much the first answer scores more."""
        return self.score_1 - self.score_2


@dataclass(frozen=True, slots=True)
class FoldDecision:
    """A pool pair that one fold's next model learns, as that fold's model of now labels it."""

    id: str
    fold: int
    better: int
    """1 or 2."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What `filter` made of one pool pair."""

    id: str
    score_1: float
    score_2: float
    better: int
    """The reward model's label: 1 or 2."""
    confidence: float
    """Probability that ``better`` is right, by the rule's own measure (0.5 to 1)."""
    status: int
    """1 or 2: the learning status that the pair meets; 0: neither."""
    kept: bool
    target: float
    """Probability that ``better`` is better, as the training target (1.0: a hard label)."""
    weight: float
    """Weight of the pair in the loss; the mean over kept pairs is 1."""
    agrees: bool | None
    """Whether ``better`` equals the hidden human label; None when unknown."""


@dataclass(frozen=True, slots=True)
class EvaluatedPair:
    """A labelled pair as one reward model sees it; raw logits."""

    id: str
    source: str
    score_chosen: float
    score_rejected: float
    tokens_chosen: int
    tokens_rejected: int

    @property
    def margin(self) -> float:
        """By how much the chosen answer scores more."""
        return self.score_chosen - self.score_rejected


@dataclass(frozen=True, slots=True)
class CalibrationPair:
    """A labelled seed pair that the scoring model was not trained on.

    ``margin`` is (score of chosen - score of rejected) / temperature: its sigmoid is the probability given to the truth.
    """

    id: str
    margin: float
    origin: str
    """`dev`, or `cross-fit` for out-of-fold scores."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One optimizer step."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    pairs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """A prompt that the policy learns on."""

    prompt: str


@dataclass(frozen=True, slots=True)
class SupervisedStep:
    """One optimizer step of the fine-tuning."""

    step: int
    loss: float
    """Mean over an answer's tokens, in nats."""


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One PPO step as `ser_core.learn.policy.ppo.metrics.StepMetrics` describes it, without its times: equal runs give equal files."""

    step: int
    score: float
    witness_score: float | None
    reward: float
    kl: float
    kl_coefficient: float
    entropy: float
    answer_tokens: float
    ended: float
    policy_loss: float
    value_loss: float | None
    clipped: float
    explained_variance: float | None
    policy_gradient_norm: float
    critic_gradient_norm: float | None
    updates: int
    skipped: int
    rate_factor: float
    distinct: float | None = None
    """Version 0.1.0 did not write it."""
    repeated: float | None = None
    """Version 0.1.0 did not write it."""
    distinct_triples: float | None = None
    """Version 0.1.0 did not write it."""


Row = TypeVar("Row")

_ROW_GROUP = 10_000
"""Rows, or fewer with much text."""
_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _schema(row: type[Any]) -> pa.Schema:
    hints = get_type_hints(row)
    fields = []
    for field in dataclasses.fields(row):
        kinds = [kind for kind in get_args(hints[field.name]) if kind is not type(None)] or [hints[field.name]]
        fields.append(pa.field(field.name, _ARROW[kinds[0]], nullable=len(kinds) < max(1, len(get_args(hints[field.name])))))
    return pa.schema(fields)


def write_table(path: Path, row: type[Row], rows: Iterable[Row]) -> None:
    """Write ``rows`` as parquet (zstd); the same rows give the same bytes with the same library."""
    schema = _schema(row)
    remaining, texts = iter(rows), [field.name for field in schema if field.type == pa.string()]
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := take(remaining, _ROW_GROUP, lambda item: sum(len(getattr(item, name)) for name in texts)):
            columns = [pa.array([getattr(item, name) for item in batch], type=schema.field(name).type) for name in schema.names]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_table(path: Path, row: type[Row]) -> Sequence[Row]:
    """Read what `write_table` wrote. A column that an earlier version did not have, and that may be empty, is empty."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    absent = {field.name for field in _schema(row) if field.nullable} - columns.keys()
    names = [field.name for field in dataclasses.fields(row)]  # type: ignore[arg-type]
    found = ([None] * len(table) if name in absent else columns[name] for name in names)
    return [row(**dict(zip(names, values, strict=True))) for values in zip(*found, strict=True)]
