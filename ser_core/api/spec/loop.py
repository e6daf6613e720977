"""The self-evolution: the rule, its thresholds, when it stops, and what it is compared with."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ser_core.api.model import Model

Probability = Annotated[float, Field(ge=0, le=1)]
MAX_ITERATIONS = 32
FOLDS = 4
"""Folds of rule calibrated where the spec names none."""


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
    """Reward models trained for comparison: `full` (all labels, those of the pool too, so the pool must have some), `seedOnly` (the seed,
    for as many steps as the best loop took), `pseudoLabelOnce` (all pairs labelled once, unfiltered)."""

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
