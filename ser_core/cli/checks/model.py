"""The base models, tried without their weights, and the memory that they need."""

import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ser_core.api.serrun import SERRun
from ser_core.cli.checks.check import Check
from ser_core.counted import counted
from ser_core.errors import SpecError
from ser_core.memory.plan import Models, plans
from ser_core.memory.words import host_line, memory_line, misfits
from ser_core.store.objects.retry import Retry

if TYPE_CHECKING:
    from ser_core.learn.base_models.trial import Tried


def check_model(run: SERRun, soon: Retry) -> Check:
    """The base models' files are whole, their weights fit, and transformers can score, or write, with them."""
    from ser_core.data.reading.locations import Access

    access = Access(run.spec.storage, run.spec.hub, soon)
    with tempfile.TemporaryDirectory(prefix="ser-validate-") as folder:
        tried = tuple(base_model_trial().try_base_models(run.spec, access, Path(folder)))
    models = Models(*(one.shape for one in tried))
    planned = [*plans(run.spec, models)]
    lines = (*map(_found, tried), *(line for plan in planned for line in (memory_line(plan), host_line(plan))))
    warnings = (warning for one in tried for warning in one.warnings)
    unfit = (misfit for plan in planned for misfit in misfits(plan, run.spec, models))
    return Check("model", lines, (*warnings, *unfit), material=tried)


def base_model_trial() -> ModuleType:
    """The module that loads models without their weights. It needs torch, which the command line alone does not."""
    try:
        from ser_core.learn.base_models import trial
    except ModuleNotFoundError as error:
        raise SpecError(
            f"{error.name} is not installed, stages need it",
            reason="MissingPackage",
            hint="in a checkout of this project: pip install '.[jobs]'",
        ) from error
    return trial


def _found(tried: "Tried") -> str:
    model = tried.model
    new = f", starts with a new {' and '.join(tried.new)}" if tried.new else ""
    return f"{model.location.pinned}: {model.model_type}, {counted(len(model.files), 'file')}, {counted(len(tried.tensors), 'tensor')}{new}"
