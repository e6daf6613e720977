"""What the spec says, what it sets in vain, and what it selects unsaid."""

from collections.abc import Iterator

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import FOLDS, Rule, ThresholdsSpec
from ser_core.cli.checks.check import Check
from ser_core.counted import counted


def check_spec(run: SERRun) -> Check:
    """The spec can be read; what it sets in vain is told."""
    return Check("spec", (describe(run),), tuple(warnings(run.spec)))


def warnings(spec: SERRunSpec) -> Iterator[str]:
    """What the spec sets in vain, in one line, and another rule that it selects without a word."""
    if in_vain := "; ".join(unused(spec)):
        yield in_vain
    if spec.loop.rule is Rule.CALIBRATED and spec.loop.fold_count is None:
        yield (
            "loop.thresholds.targetPrecision without loop.folds selects the rule of version 0.1.0, which does not train on dev and keeps "
            f"all pairs from one confidence on; for a floor of the present rule write folds: {FOLDS} into loop"
        )


def describe(run: SERRun) -> str:
    """The run in one line."""
    loop = run.spec.loop
    controls = f", controls {', '.join(loop.controls)}" if loop.controls else ""
    return f"{run.metadata.name}: rule {loop.rule}, at most {counted(loop.max_iterations, 'loop')}{controls}"


def unused(spec: SERRunSpec) -> Iterator[str]:
    """The fields that are set and that the rule does not use."""
    if spec.loop.fold_count is not None and "dev_fraction" in spec.data.model_fields_set:
        yield "data.devFraction is not used: rule calibrated trains on every label, and decides on out-of-fold scores of all"
    if spec.loop.fold_count is not None and spec.loop.stopping.min_gain:
        yield "loop.stopping.minGain is not used: rule calibrated compares log losses, with their standard error"
    if spec.loop.fold_count is None and spec.loop.folds is not None:
        yield f"loop.folds is not used: rule {spec.loop.rule} has none"
    if spec.loop.rule is not Rule.CALIBRATED and spec.loop.thresholds.target_precision is not None:
        yield f"loop.thresholds.targetPrecision is not used: rule {spec.loop.rule} has no such floor"
    if spec.loop.rule is not Rule.PAPER and spec.loop.thresholds.min_samples != ThresholdsSpec().min_samples:
        yield "loop.thresholds.minSamples is not used: only rule paper asks for so many pairs"
    if spec.loop.fold_count is None and spec.training.search is not None:
        yield "training.search is not used: only rule calibrated with folds can tell which settings are better"
    for name, part in (("rewardModel", spec.reward_model), ("policy", spec.policy)):
        if part is not None and part.template_text is not None and part.custom_text is None:
            yield f"{name}.templateText is not used: {name}.template is {part.template}"
