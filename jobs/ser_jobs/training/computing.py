"""In which arithmetic a stage that trains computes, told in its log."""

from typing import Literal

from ser_core.learn.compute.precision import Precision, detect, set_up_process
from ser_jobs.process.context import StageContext


def set_up(context: StageContext, asked: Literal["auto", "fp32", "bf16"]) -> Precision:
    """Set this process up and find its arithmetic; ``asked`` is the field `precision` of the model."""
    set_up_process(context.spec.threads)
    precision = detect(asked)
    context.reporter.event("computing", device=precision.device, autocast=str(precision.autocast or "off"), note=precision.note)
    return precision
