"""What a retrain or a control learns from, and from which weights (docs/architecture.md, "Learning rules")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from ser_core.api.spec.loop import Rule
from ser_core.api.spec.training import TrainingSpec
from ser_core.api.stage import InputRole, RetrainMetrics
from ser_core.api.status import StageKind
from ser_core.data.preparing.hidden_labels import no_hidden_labels
from ser_core.data.tables import (
    Decision,
    FoldDecision,
    HiddenLabel,
    PairGroup,
    PairMargin,
    PairScores,
    PairWeight,
    PoolPair,
    TiedPair,
    read_table,
)
from ser_jobs.process.context import StageContext
from ser_jobs.training.labeled import labeled

TIED = 0.5
"""Target of a pair of which neither answer is better."""
SAMPLE = 200
"""Pairs of the pool on which a reward model must agree with its fold models."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair and the label to learn: ``target`` is the probability that ``better`` is the better answer."""

    id: str
    prompt: str
    better: str
    worse: str
    target: float = 1.0
    weight: float = 1.0
    margin: float = 0.0
    """Of labels that people gave: what the loss subtracts from the difference of the scores."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The pairs of one training, by where their labels come from."""

    seed: Sequence[Example]
    """Pairs with human labels: the seed; for the control `full` the pool, too."""
    ties: Sequence[Example] = ()
    """Pairs that people find equally good. They are learnt and judge nothing."""
    self_labeled: Sequence[Example] = ()
    of_folds: Sequence[Sequence[Example]] = ()
    """What each fold's model learns in place of ``self_labeled``: labels that this fold's last model has made alone."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Group of each pair of ``seed``, where folds must not tear groups apart."""
    tied_groups: Mapping[str, str] = field(default_factory=dict)
    """The same of ``ties``."""
    pool_groups: Mapping[str, str] = field(default_factory=dict)
    """The same of pool pairs that are in the group of a pair of ``seed`` or ``ties``."""
    sample: Sequence[PoolPair] = ()
    """Some pairs of the pool, on which models are compared without labels."""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    """Settings of the training: those of the spec, or what an earlier search has found."""


def training_data(context: StageContext, known: Mapping[str, str] | None) -> TrainingData:
    """The pairs that this stage trains on, and the settings.

    Rule `paper`: a pair that both this loop and the one before kept is learnt once, with its newer label.

    Args:
        context: Of a retrain or a control.
        known: What `groups_of` gives.

    Raises:
        SpecError: The control `full` needs human labels of the pool, and there are none.
    """
    return replace(_pairs(context, known), training=_settings(context))


def _settings(context: StageContext) -> TrainingSpec:
    """Settings of the spec; where the seed model has searched for them, what it has found: each model hands that on to the next."""
    training = context.spec.spec.training
    role = InputRole.LABELER if context.spec.stage is StageKind.RETRAIN else InputRole.BEST
    found = context.inputs[role].metrics if training.search is not None and role in context.inputs else None
    if not isinstance(found, RetrainMetrics) or found.learning_rate is None or found.epochs is None:
        return training
    return training.model_copy(update={"learning_rate": found.learning_rate, "epochs": found.epochs})


def _pairs(context: StageContext, known: Mapping[str, str] | None) -> TrainingData:
    iteration = context.spec.iteration
    if context.spec.stage is not StageKind.RETRAIN:
        return _of_control(context)
    if context.spec.spec.loop.fold_count is not None:
        return _cross_fitted(context, known)
    if iteration == 0:
        return _judged(context)
    pool, rule = _pool(context), context.spec.spec.loop.rule
    kept = _kept(context, InputRole.KEPT, pool)
    if rule is Rule.REFERENCE:
        return TrainingData((), self_labeled=kept)
    if rule is Rule.PAPER and iteration > 1:
        newer = {example.id for example in kept}
        kept += [before for before in _kept(context, InputRole.KEPT_BEFORE, pool) if before.id not in newer]
        return TrainingData((), self_labeled=kept)
    return replace(_judged(context), self_labeled=kept)


def starts_from(context: StageContext) -> InputRole:
    """Input whose weights the training starts from: the base model's, or those of the model that labelled."""
    continues = context.spec.stage is StageKind.RETRAIN and context.spec.iteration > 0 and context.spec.spec.loop.starts_from_previous
    return InputRole.LABELER if continues else InputRole.PREPARED


def is_trained_on(context: StageContext) -> bool:
    """Whether a later stage may train on the weights of this one. The seed model is one for all rules (`ser_core.store.stages`)."""
    if context.spec.stage is not StageKind.RETRAIN:
        return False
    return context.spec.iteration == 0 or context.spec.spec.loop.starts_from_previous


def groups_of(context: StageContext) -> dict[str, str] | None:
    """Group of each labelled pair (`splitBy`), and of pool pairs in the group of one; None: version 0.1.0 has prepared the data."""
    if not context.has(InputRole.PREPARED, "groups.parquet"):
        return None
    return {row.id: row.group for row in read_table(context.fetch(InputRole.PREPARED, "groups.parquet"), PairGroup)}


def _weights(context: StageContext, name: str) -> dict[str, float]:
    """Weights of the pairs that have one, with a mean of 1; a pair without one has this mean."""
    if not context.has(InputRole.PREPARED, name):
        return {}
    rows = read_table(context.fetch(InputRole.PREPARED, name), PairWeight)
    mean = fmean(row.weight for row in rows)
    return {row.id: row.weight / mean for row in rows}


def _margins(context: StageContext, name: str) -> dict[str, float]:
    if not context.has(InputRole.PREPARED, name):
        return {}
    return {row.id: row.margin for row in read_table(context.fetch(InputRole.PREPARED, name), PairMargin)}


def _judged(context: StageContext) -> TrainingData:
    """What people have judged of the parts that are trained on (`labeled`): pairs and ties."""
    weights, margins = _weights(context, "weights.parquet"), _margins(context, "margins.parquet")
    seed = [
        Example(one.id, one.prompt, one.chosen, one.rejected, weight=weights.get(one.id, 1.0), margin=margins.get(one.id, 0.0))
        for one in labeled(context)
    ]
    if not context.has(InputRole.PREPARED, "ties.parquet"):
        return TrainingData(seed)
    sides = ("seed",) if context.spec.spec.loop.fold_count is None else ("seed", "dev")
    rows = [one for one in read_table(context.fetch(InputRole.PREPARED, "ties.parquet"), TiedPair) if one.side in sides]
    return TrainingData(seed, [Example(one.id, one.prompt, one.answer_1, one.answer_2, TIED, weights.get(one.id, 1.0)) for one in rows])


def _of_control(context: StageContext) -> TrainingData:
    data = _judged(context)
    if context.spec.stage is StageKind.CONTROL_FULL:
        return replace(data, seed=[*data.seed, *_with_hidden_labels(context)])
    if context.spec.stage is StageKind.CONTROL_PSEUDO_LABEL_ONCE:
        return replace(data, self_labeled=_with_first_labels(context))
    return data


def _cross_fitted(context: StageContext, known: Mapping[str, str] | None) -> TrainingData:
    data, pool = _judged(context), _pool(context)
    groups, tied = ({example.id: example.prompt for example in examples} for examples in (data.seed, data.ties))
    if known is not None:
        groups, tied = ({name: known.get(name, name) for name in names} for names in (groups, tied))
    shared = {name: group for name, group in (known or {}).items() if name in pool}
    data = replace(data, groups=groups, tied_groups=tied, pool_groups=shared, sample=_sample(pool))
    if context.spec.iteration == 0:
        return data
    return replace(data, self_labeled=_kept(context, InputRole.KEPT, pool), of_folds=_kept_by_folds(context, pool))


def _sample(pool: Mapping[str, PoolPair]) -> list[PoolPair]:
    """`SAMPLE` pairs of the pool, the same ones in every loop; ids are digests, so their order is one of chance."""
    return [pool[name] for name in sorted(pool)[:SAMPLE]]


def _kept_by_folds(context: StageContext, pool: Mapping[str, PoolPair]) -> list[list[Example]]:
    rows = read_table(context.fetch(InputRole.KEPT, "fold_decisions.parquet"), FoldDecision)
    kept: list[list[Example]] = [[] for _ in range(1 + max((row.fold for row in rows), default=-1))]
    for row in rows:
        kept[row.fold].append(_ordered(pool[row.id], row.better))
    return kept


def _pool(context: StageContext) -> dict[str, PoolPair]:
    return {pair.id: pair for pair in read_table(context.fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)}


def _kept(context: StageContext, role: InputRole, pool: Mapping[str, PoolPair]) -> list[Example]:
    decisions = read_table(context.fetch(role, "decisions.parquet"), Decision)
    return [_ordered(pool[one.id], one.better, one.target, one.weight) for one in decisions if one.kept]


def _with_hidden_labels(context: StageContext) -> list[Example]:
    if not context.has(InputRole.PREPARED, "pool_labels.parquet"):
        raise no_hidden_labels()
    pool, weights, margins = _pool(context), _weights(context, "pool_weights.parquet"), _margins(context, "pool_margins.parquet")
    labels = read_table(context.fetch(InputRole.PREPARED, "pool_labels.parquet"), HiddenLabel)
    return [
        _ordered(pool[label.id], label.better, weight=weights.get(label.id, 1.0), margin=margins.get(label.id, 0.0)) for label in labels
    ]


def _with_first_labels(context: StageContext) -> list[Example]:
    pool = _pool(context)
    labels = read_table(context.fetch(InputRole.LABELS, "labels.parquet"), PairScores)
    return [_ordered(pool[label.id], 1 if label.score_1 >= label.score_2 else 2) for label in labels]


def _ordered(pair: PoolPair, better: int, target: float = 1.0, weight: float = 1.0, margin: float = 0.0) -> Example:
    first, second = (pair.answer_1, pair.answer_2) if better == 1 else (pair.answer_2, pair.answer_1)
    return Example(pair.id, pair.prompt, first, second, target, weight, margin)
