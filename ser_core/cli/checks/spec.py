"""What the spec says, and what it sets in vain."""

from collections.abc import Iterator

from ser_core.api.serrun import SERRun, SERRunSpec
from ser_core.api.spec.loop import Rule, ThresholdsSpec
from ser_core.cli.checks.check import Check
from ser_core.counted import counted


def check_spec(run: SERRun) -> Check:
    """The spec can be read; what it sets in vain is told."""
    in_vain = "; ".join(unused(run.spec))
    return Check("spec", (describe(run),), (in_vain,) if in_vain else ())


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
