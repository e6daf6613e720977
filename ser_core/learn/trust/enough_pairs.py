"""Warnings about numbers of pairs and prompts, by rule: labels that decide, and what a loop can keep. Nothing here decides anything.

`prepare` does not know the rule, since runs of different rules share what it made: whoever tells its warnings adds these.
"""

import math
from collections.abc import Iterator, Mapping

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.loop import Rule
from ser_core.api.stage import PrepareMetrics
from ser_core.counted import by_column, counted
from ser_core.learn.trust.confident import SHARE

_FEW_LABELS = 200
_FEW_STEPS = 10
"""AdamW moves a weight by about the rate in a step, so that so few leave the model nearly as it was."""
_SMALL_STEP = 8
_USUAL_SHARE = 0.08
"""Of the pool, as `thresholds.minSamples` in docs/results.md."""


def size_warnings(
    spec: SERRunSpec, sizes: PrepareMetrics, ties: Mapping[str, int] | None = None, taken: int | None = None
) -> Iterator[str]:
    """What the numbers of pairs say about a run before it trains anything.

    Args:
        spec: The run's specification.
        sizes: Pairs of each part.
        ties: Those of seed and dev, which are learnt beside the pairs; None: there are none.
        taken: Steps in which the seed model has learnt; None: it is not trained yet.
    """
    yield from _few_labels(spec, sizes)
    if spec.loop.fold_count is None and sizes.shared_prompts:
        yield _shared(sizes.shared_prompts, spec.data.group_by)
    learnt = ("seed",) if spec.loop.fold_count is None else ("seed", "dev")
    pairs = sum(getattr(sizes, side) + (ties or {}).get(side, 0) for side in learnt)
    yield from _few_steps(spec, pairs, _most_kept(spec, sizes.pool), taken)
    if spec.loop.rule is Rule.PAPER:
        yield from _paper_never_trains(spec, sizes.pool)
    if spec.loop.rule is Rule.CALIBRATED:
        yield from _keeps_less_than_a_step(spec, sizes.pool)


def _few_labels(spec: SERRunSpec, sizes: PrepareMetrics) -> Iterator[str]:
    labels = sizes.seed + sizes.dev
    if spec.loop.fold_count is not None and labels < _FEW_LABELS:
        yield f"{counted(labels, 'label')} decide: fewer than {_FEW_LABELS} are few for a decision"
    if spec.loop.fold_count is None and sizes.dev < _FEW_LABELS:
        yield f"dev has {counted(sizes.dev, 'pair')}: with fewer than {_FEW_LABELS} its decisions rest on few labels"


def _shared(shared: int, split_by: str) -> str:
    one, by = ("prompt", "") if split_by == "prompt" else ("group", by_column(split_by))
    what = f"{counted(shared, one)}{by} of data.seed also in data.unlabeled: a self-label of such a {one} makes dev accuracy flatter"
    return f"{what}; leave these {one}s out of data.unlabeled, or use rule calibrated, whose fold models hold them back"


def _few_steps(spec: SERRunSpec, pairs: int, kept: int, taken: int | None) -> Iterator[str]:
    training = spec.training
    searched = training.search.epochs if training.search is not None else ()
    epochs, step = max(searched or (training.epochs,)), training.pairs_per_step
    steps = epochs * math.ceil(pairs / step) if taken is None else taken
    if steps < _FEW_STEPS:
        smaller = min(step, _SMALL_STEP) if kept >= step else min(step, _SMALL_STEP, _half_of(kept))
        enough = max(epochs, math.ceil(4 * _FEW_STEPS / math.ceil(pairs / smaller)))
        field = f"search.epochs: [{enough}]" if searched else f"epochs: {enough}"
        yield (
            f"the seed model learns in {counted(steps, 'step')} (training.pairsPerStep {step}, epochs {epochs}): fewer than {_FEW_STEPS} "
            f"teach it next to nothing; write pairsPerStep: {smaller} and {field} into training"
        )


def _paper_never_trains(spec: SERRunSpec, pool: int) -> Iterator[str]:
    wanted = spec.loop.thresholds.min_samples
    if wanted > pool:
        usual = max(1, round(_USUAL_SHARE * pool))
        yield (
            f"loop.thresholds.minSamples is {wanted:,} and the pool has {counted(pool, 'pair')}: no status can have so many, and loop 1 "
            f"ends the run with NothingTrusted; write minSamples: {usual} ({_USUAL_SHARE:.0%} of the pool), or give a larger pool"
        )


def _keeps_less_than_a_step(spec: SERRunSpec, pool: int) -> Iterator[str]:
    step, most = spec.training.pairs_per_step, _most_kept(spec, pool)
    if most < step:
        yield (
            f"training.pairsPerStep is {step:,} and of the pool's {counted(pool, 'pair')} a loop keeps at most {most:,}: loop 1 "
            f"ends the run with NothingTrusted; write pairsPerStep: {_half_of(most)}, "
            f"or give a pool of at least {math.ceil(step / _share(spec)):,} pairs"
        )


def _most_kept(spec: SERRunSpec, pool: int) -> int:
    return round(_share(spec) * pool)


def _share(spec: SERRunSpec) -> float:
    return 1.0 if spec.loop.fold_count is None else SHARE


def _half_of(pairs: int) -> int:
    return max(1, pairs // 2)
