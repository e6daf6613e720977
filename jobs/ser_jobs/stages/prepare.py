"""The stage `prepare`: probe the store, check the base models, read and split the data, copy all of it into the store.

Cheap checks come first, so that a wrong spec fails within seconds. Only this stage connects to a model hub.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ser_core.api.serrun import SERRunSpec
from ser_core.data.preparing.hidden_labels import refuse_full_without_labels
from ser_core.data.preparing.preparation import Prepared, prepare_data
from ser_core.data.preparing.prompts import Prompts, read_prompts
from ser_core.data.preparing.sides import write_sides
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import BaseModel
from ser_core.data.tables import LabeledPair, PolicyPrompt, read_table, write_table
from ser_core.learn.base_models.trial import Tried, refuse_dialogues, try_base_models
from ser_core.memory.plan import Models, plans
from ser_core.memory.words import misfits
from ser_core.store.objects.probe import probe
from ser_jobs.process.context import StageContext, StageOutput

_TEMPLATES = {"model": "rewardModel.template", "policy": "policy.template"}
"""Fields with the text in which the base models read, by the folder of their files."""


def body(context: StageContext) -> StageOutput:
    """Write the split data and copy the base models' files.

    Raises:
        SpecError: A base model cannot be used, the store or the hub refuses access, or a control cannot be trained on the data.
        DataError: The data cannot be used.
        StoreError: The store lacks conditional writes, or store or hub cannot be reached.
    """
    spec = context.spec.spec
    access = Access(spec.storage, spec.hub)
    probe(context.store, context.spec.run)
    context.reporter.event("store-probed", storage=spec.storage.uri)
    bases = _try_bases(context, access)
    misfits = _misfits(context, bases.values())
    data_folder = context.workdir / "data"
    data_folder.mkdir()
    prepared = prepare_data(spec.data, spec.data.split_seed, access, data_folder, _kibibytes(context), turns=spec.keeps_turns)
    refuse_full_without_labels(spec.loop, hidden_labels=prepared.metrics.hidden_labels)
    context.reporter.event("data-split", **prepared.metrics.model_dump(mode="json", exclude={"kind"}))
    files = write_sides(prepared, spec.data.split_seed, data_folder)
    prompts = _prompts(spec, access, files["heldout.parquet"], context)
    if prompts is not None:
        files["prompts.parquet"] = data_folder / "prompts.parquet"
        write_table(files["prompts.parquet"], PolicyPrompt, map(PolicyPrompt, prompts.texts))
    if spec.keeps_turns:
        for name, base in bases.items():
            refuse_dialogues(base.tokenizer, _prompts_of(files.values()), _TEMPLATES[name])
    for name, base in bases.items():
        fetched = base.model.fetch(context.workdir / name, lambda: context.reporter.progress(0, 1, "files"))
        files |= {f"{name}/{file}": path for file, path in fetched.items()}
    files["provenance.json"] = _write_provenance(data_folder / "provenance.json", bases, prepared, prompts)
    found, warnings = prepared.metrics, (warning for base in bases.values() for warning in base.warnings)
    return StageOutput(files, found.model_copy(update={"warnings": (*found.warnings, *warnings), "misfits": misfits}))


def _try_bases(context: StageContext, access: Access) -> dict[str, Tried]:
    """The base models by the folder of their files: ``model``, and ``policy`` where the run has one."""
    found = {}
    for name, tried in zip(_TEMPLATES, try_base_models(context.spec.spec, access, context.workdir), strict=False):
        model = tried.model
        context.reporter.event(f"{name}-checked", base=model.location.pinned, model_type=model.model_type, new_parts=list(tried.new))
        found[name] = tried
    return found


def _misfits(context: StageContext, bases: Iterable[Tried]) -> tuple[str, ...]:
    """Later stages for which `resources` have too little memory, each with what would help. Until they begin, these can be changed."""
    spec, models = context.spec.spec, Models(*(base.shape for base in bases))
    found = tuple(told for plan in plans(spec, models) for told in misfits(plan, spec, models))
    for told in found:
        context.reporter.event("does-not-fit", message=told)
    return found


def _prompts(spec: SERRunSpec, access: Access, heldout: Path, context: StageContext) -> Prompts | None:
    if spec.policy is None or spec.policy.prompts is None:
        return None
    measured_on = [pair.prompt for pair in read_table(heldout, LabeledPair)]
    folder = context.workdir / "data" / "downloads" / "prompts"
    limit = spec.data.max_dropped_fraction
    found = read_prompts(
        spec.policy.prompts,
        access,
        folder,
        measured_on,
        limit,
        lambda: context.reporter.progress(0, 1, "files"),
        turns=spec.keeps_turns,
    )
    context.reporter.event("prompts-read", prompts=len(found.texts), dropped=found.provenance["dropped"], warnings=list(found.warnings))
    return found


def _prompts_of(tables: Iterable[Path]) -> Iterator[str]:
    for table in tables:
        if "prompt" in pq.read_schema(table).names:
            yield from pq.read_table(table, columns=["prompt"])["prompt"].to_pylist()


def _kibibytes(context: StageContext) -> Any:
    return lambda read, total: context.reporter.progress(read >> 10, max(1, total >> 10), "KiB")


def _write_provenance(path: Path, bases: Mapping[str, Tried], prepared: Prepared, prompts: Prompts | None) -> Path:
    content: dict[str, Any] = {"baseModel": _origin(bases["model"].model), "data": prepared.provenance}
    content |= {"policy": _origin(bases["policy"].model)} if "policy" in bases else {}
    content |= {} if prompts is None else {"prompts": prompts.provenance}
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _origin(model: BaseModel) -> dict[str, Any]:
    return {"pinned": model.location.pinned, "modelType": model.model_type, "files": list(model.files)}
