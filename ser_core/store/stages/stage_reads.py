"""What the output of each stage may depend on: fields of the spec, outputs of its inputs, facts of its processes. Tables alone.

A test (`test_what_stages_read.py`) runs every stage, records what it reads, and fails where a table misses some of it. What a stage reads
although its output does not depend on it stands there, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind

ALGORITHM: Mapping[StageKind, int] = {
    StageKind.PREPARE: 9,
    StageKind.LABEL: 2,
    StageKind.FILTER: 3,
    StageKind.RETRAIN: 7,
    StageKind.CONTROL_FULL: 7,
    StageKind.CONTROL_SEED_ONLY: 7,
    StageKind.CONTROL_PSEUDO_LABEL_ONCE: 7,
    StageKind.SFT: 8,
    StageKind.PPO: 7,
}
"""Version of what a stage computes. Raised for a stage when equal inputs give it other results than before, and for nothing else: also when
a default changes, since a field at its default stands in no stage key."""

TRAINED = (
    StageKind.RETRAIN,
    StageKind.CONTROL_FULL,
    StageKind.CONTROL_SEED_ONLY,
    StageKind.CONTROL_PSEUDO_LABEL_ONCE,
    StageKind.SFT,
    StageKind.PPO,
)
"""Stages that train. Their sums depend, in the last bits, on how many processes share them."""
ON_THE_CPU = (StageKind.PREPARE, StageKind.FILTER)
"""Stages that use one thread and no GPU for what they compute."""

_REWARD_MODEL = (
    *("rewardModel.maxLength", "rewardModel.precision", "rewardModel.adapter"),
    *("rewardModel.template", "rewardModel.templateText"),
)
_POLICY = (
    *("policy.adapter", "policy.precision", "policy.promptTokens", "policy.answerTokens"),
    *("policy.template", "policy.templateText"),
)

FIELDS: Mapping[StageKind, tuple[str, ...]] = {
    StageKind.PREPARE: (
        *("rewardModel.base", "rewardModel.revision", "rewardModel.template", "data"),
        *("policy.base", "policy.revision", "policy.template", "policy.prompts"),
    ),
    StageKind.LABEL: ("rewardModel.maxLength", "rewardModel.precision", "training.tokensPerBatch"),
    StageKind.FILTER: ("loop.rule", "loop.folds", "loop.thresholds", "training.pairsPerStep"),
    StageKind.RETRAIN: (*_REWARD_MODEL, "training", "loop.rule", "loop.folds", "loop.retrainFrom"),
    StageKind.CONTROL_FULL: (*_REWARD_MODEL, "training", "loop.folds"),
    StageKind.CONTROL_SEED_ONLY: (*_REWARD_MODEL, "training", "loop.folds"),
    StageKind.CONTROL_PSEUDO_LABEL_ONCE: (*_REWARD_MODEL, "training", "loop.folds"),
    StageKind.SFT: (*_POLICY, "policy.sft", "training.tokensPerBatch", "training.seed", "loop.folds"),
    StageKind.PPO: (
        *_POLICY,
        *("policy.steps", "policy.rolloutsPerStep", "policy.temperature", "policy.generator", "policy.learningRate"),
        *("policy.criticLearningRate", "policy.kl", "policy.epochs", "policy.minibatches", "policy.missingEndPenalty"),
        *("policy.advantage", "policy.answersPerPrompt"),
        *("rewardModel.maxLength", "rewardModel.precision", "training.tokensPerBatch", "training.seed"),
    ),
}
"""Fields of the spec by stage; one that has fields of its own stands for all of them."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a stage reads of one input."""

    outputs: tuple[str, ...]
    """By name; a slash at the end means all below it."""
    metrics: tuple[str, ...] = ()
    """Fields of the metrics in its manifest."""


_SPLIT = ("seed.parquet", "dev.parquet", "heldout.parquet", "groups.parquet")
_LEARNT = ("ties.parquet", "weights.parquet", "margins.parquet")
_PREPARED = Read((*_SPLIT, *_LEARNT, "pool.parquet", "model/"))
_DECISIONS = Read(("decisions.parquet",))
_SEARCHED = ("learning_rate", "epochs")
_BEST = Read(("dev_scores.parquet", "heldout_scores.parquet"), _SEARCHED)
_MODEL = Read(("model/",))
_MODELS = Read(("model/", "folds/"))

READS: Mapping[StageKind, Mapping[InputRole, Read]] = {
    StageKind.PREPARE: {},
    StageKind.LABEL: {InputRole.PREPARED: Read(("pool.parquet",)), InputRole.LABELER: _MODELS, InputRole.KEPT_BEFORE: _DECISIONS},
    StageKind.FILTER: {
        InputRole.PREPARED: Read(("pool.parquet", "pool_labels.parquet", "seed.parquet")),
        InputRole.LABELS: Read(("labels.parquet", "fold_labels.parquet")),
        InputRole.LABELER: Read(("calibration.parquet", "dev_scores.parquet"), ("temperature",)),
        InputRole.KEPT_BEFORE: _DECISIONS,
    },
    StageKind.RETRAIN: {
        InputRole.PREPARED: _PREPARED,
        InputRole.KEPT: Read(("decisions.parquet", "fold_decisions.parquet")),
        InputRole.KEPT_BEFORE: _DECISIONS,
        InputRole.LABELER: Read(("calibration.parquet", "model/", "folds/"), _SEARCHED),
        InputRole.BEST: _BEST,
    },
    StageKind.CONTROL_FULL: {
        InputRole.PREPARED: Read((*_PREPARED.outputs, "pool_labels.parquet", "pool_weights.parquet", "pool_margins.parquet")),
        InputRole.BEST: _BEST,
    },
    StageKind.CONTROL_SEED_ONLY: {InputRole.PREPARED: Read((*_SPLIT, *_LEARNT, "model/")), InputRole.BEST: _BEST},
    StageKind.CONTROL_PSEUDO_LABEL_ONCE: {
        InputRole.PREPARED: _PREPARED,
        InputRole.LABELS: Read(("labels.parquet",)),
        InputRole.BEST: _BEST,
    },
    StageKind.SFT: {InputRole.PREPARED: Read(("seed.parquet", "dev.parquet", "policy/"))},
    StageKind.PPO: {
        InputRole.PREPARED: Read(("heldout.parquet", "pool.parquet", "prompts.parquet", "policy/")),
        InputRole.POLICY: _MODEL,
        InputRole.BEST: _MODEL,
        InputRole.WITNESS: _MODEL,
    },
}
"""Outputs by stage and role. What lies beside them, as a policy's base beside the split, changes nothing for the stage."""
