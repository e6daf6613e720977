"""The stage `prepare`: probe the store, check the base model, read and split the data, copy all of it into the store.

Cheap checks come first, so that a wrong spec costs seconds. Only this stage reaches a model hub.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ser_core.data.base_model import BaseModel, check_base_model
from ser_core.data.locations import Access
from ser_core.data.preparation import Prepared, prepare_data
from ser_core.data.sides import write_sides
from ser_core.store.probe import probe
from ser_jobs.context import StageContext, StageOutput


def body(context: StageContext) -> StageOutput:
    """Make the split data and the base model's files.

    Raises:
        SpecError: The base model cannot be used, or the store or the hub refuses access.
        DataError: The data cannot be used.
        StoreError: The store lacks conditional writes, or store or hub cannot be reached.
    """
    spec = context.spec.spec
    access = Access(spec.storage, spec.hub)
    probe(context.store, context.spec.run)
    context.reporter.event("store-probed", storage=spec.storage.uri)
    model_folder = context.workdir / "model"
    model = check_base_model(spec.reward_model, access, model_folder)
    context.reporter.event("model-checked", base=model.location.pinned, model_type=model.model_type)
    data_folder = context.workdir / "data"
    data_folder.mkdir()
    prepared = prepare_data(spec.data, spec.training.seed, access, data_folder, _kibibytes(context))
    context.reporter.event("data-split", **prepared.metrics.model_dump(mode="json", exclude={"kind"}))
    files = write_sides(prepared, spec.training.seed, data_folder)
    weights = model.fetch(model_folder, lambda: context.reporter.progress(0, 1, "files"))
    files |= {f"model/{name}": path for name, path in weights.items()}
    files["provenance.json"] = _write_provenance(data_folder / "provenance.json", model, prepared)
    return StageOutput(files, prepared.metrics)


def _kibibytes(context: StageContext) -> Any:
    return lambda read, total: context.reporter.progress(read >> 10, max(1, total >> 10), "KiB")


def _write_provenance(path: Path, model: BaseModel, prepared: Prepared) -> Path:
    content: Mapping[str, Any] = {
        "baseModel": {"pinned": model.location.pinned, "modelType": model.model_type, "files": list(model.files)},
        "data": prepared.provenance,
    }
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
