"""The outputs ``model/…`` of a stage that has trained a model, and ``folds/…`` of one that has trained several."""

from collections.abc import Mapping
from pathlib import Path

from ser_core.api.stage import InputRole
from ser_core.store.stages.manifest import OutputFile
from ser_core.store.stages.model_folder import BASE, MODEL, is_adapter
from ser_jobs.process.context import StageContext


def model_files(folder: Path, made: str = MODEL) -> dict[str, Path]:
    """The files that a training has written into the folder ``made`` of ``folder``, by output name, without those of a base."""
    model = folder / made
    found = (path for path in sorted(model.rglob("*")) if path.is_file() and path.relative_to(model).parts[0] != BASE)
    return {path.relative_to(folder).as_posix(): path for path in found}


def base_files(context: StageContext, role: InputRole, name: str = MODEL, made: str = MODEL) -> Mapping[str, OutputFile]:
    """What the adapter ``made`` lies on: the files of the input's model ``name``, as its outputs ``base/…``. Empty where there is none."""
    if not is_adapter(context.workdir / made):
        return {}
    outputs = context.inputs[role].outputs.items()
    return {f"{made}/{BASE}/{output.removeprefix(f'{name}/')}": part for output, part in outputs if output.startswith(f"{name}/")}
