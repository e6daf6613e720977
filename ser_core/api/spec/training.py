"""How a reward model is trained."""

from typing import Annotated, Literal

from pydantic import Field

from ser_core.api.model import Model

MIN_TOKENS_PER_BATCH = 64


CPU_TOKENS_PER_BATCH = 2048
"""Larger batches gain nothing on a CPU and only pad more."""


LOWER_RATE = "lower training.learningRate, or training.search.learningRates where these are given"
"""What helps where a rate is too high: a search tries its own ones alone."""
AGAINST_DIVERGENCE = f"{LOWER_RATE}, or set rewardModel.precision to fp32"
"""What helps where numbers are not finite."""


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
    change what a step learns. A stage takes fewer where its GPUs have no room for them, and one that runs out of memory is tried once
    more with half as many. May be lowered at any time."""
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
