"""The outputs ``model/…`` of a stage that has trained a model."""

from collections.abc import Mapping
from pathlib import Path

from ser_core.api.stage import InputRole
from ser_core.store.manifest import OutputFile
from ser_core.store.model_folder import BASE, MODEL, is_adapter
from ser_jobs.process.context import StageContext


def model_files(folder: Path) -> dict[str, Path]:
    """The files that the training has written into the folder ``model`` of ``folder``, by output name, without those of a base."""
    model = folder / MODEL
    found = (path for path in sorted(model.rglob("*")) if path.is_file() and path.relative_to(model).parts[0] != BASE)
    return {path.relative_to(folder).as_posix(): path for path in found}


def base_files(context: StageContext, role: InputRole, name: str = MODEL) -> Mapping[str, OutputFile]:
    """What an adapter lies on: the files of the input's model ``name``, as outputs ``model/base/…``. Empty where no adapter was trained."""
    if not is_adapter(context.workdir / MODEL):
        return {}
    outputs = context.inputs[role].outputs.items()
    return {f"{MODEL}/{BASE}/{output.removeprefix(f'{name}/')}": part for output, part in outputs if output.startswith(f"{name}/")}
