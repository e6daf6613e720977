"""The stage key: equal keys mean equal results, whoever computes. It knows no UID, attempt, writer, place or time. Pure.

It is the digest of the spec's fields that the stage reads, the content of its inputs, what its processes add (threads, how many, whether on
GPUs) and the version of its algorithm (`stage_reads`). Like the manifests of equal runs, it says nothing of the processor.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ser_core.api.immutability import EARLIER_THRESHOLDS
from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.loop import Rule
from ser_core.api.stage import InputRole, Processes, StageSpec
from ser_core.api.status import StageKind
from ser_core.store.stages.manifest import Manifest, StageKeyRecord
from ser_core.store.stages.stage_reads import ALGORITHM, FIELDS, ON_THE_CPU, READS, TRAINED, Read

FOLDS, PRECISION = "loop.folds", "loop.thresholds.targetPrecision"
_SHOWN_DIFFERENCES = 3
_SHOWN_LENGTH = 60


def stage_key(
    stage: StageSpec,
    inputs: Mapping[InputRole, Manifest],
    processes: Processes,
    origins: Mapping[str, str] | None = None,
) -> StageKeyRecord:
    """The key of a stage.

    Args:
        stage: What its process is told.
        inputs: Manifests of its inputs.
        processes: What computes it.
        origins: Of `prepare`, whose inputs lie outside the store: what each holds, by field.
    """
    read = READS[stage.stage]
    contents = {role.value: content(manifest, read[role]) for role, manifest in inputs.items() if role in read}
    parts = {
        "algorithm": ALGORITHM[stage.stage],
        "spec": fields_read(stage.spec, stage.stage, stage.iteration),
        "inputs": contents | dict(origins or {}),
        "facts": _facts(stage, processes),
    }
    named = {"stage": stage.stage.value, "iteration": stage.iteration, **parts}
    return StageKeyRecord.model_validate({"sha256": _digest(named), **parts})


def content(manifest: Manifest, read: Read) -> str:
    """Digest of what a stage reads of an input: names, sizes and digests of the outputs, wherever they lie."""
    outputs = {name: [part.size, part.sha256] for name, part in manifest.outputs.items() if _is_read(name, read.outputs)}
    found = {name: getattr(manifest.metrics, name, None) for name in read.metrics}
    metrics = {name: value for name, value in found.items() if value is not None}  # what a later version measures changes no earlier key
    return _digest({"outputs": outputs, "metrics": metrics})


def fields_read(spec: SERRunSpec, stage: StageKind, iteration: int) -> dict[str, Any]:
    """The fields of a spec that a stage's output may depend on and that differ from their defaults, by path."""
    read = {path: value for path, value in leaves(spec).items() if _is_below(path, FIELDS[stage]) and path != FOLDS}
    if spec.loop.fold_count is not None and FOLDS in FIELDS[stage]:
        read[FOLDS] = spec.loop.fold_count  # as it is asked for: a run of version 0.1.0, which has none, looks like one that leaves it out
    elif read.get(PRECISION) == EARLIER_THRESHOLDS["target_precision"]:
        del read[PRECISION]  # a default of version 0.1.0, which stands in no key
    if stage is StageKind.SFT and FOLDS in read:
        read[FOLDS] = "some"  # however many: with folds it learns the dev part too
    if stage is StageKind.RETRAIN and iteration == 0:
        read.pop("loop.retrainFrom", None)
        if "loop.rule" in read:  # only rule calibrated cross-fits the seed model; for all others it is the same
            read["loop.rule"] = f"not {Rule.CALIBRATED.value}"
    return read


def leaves(spec: SERRunSpec) -> dict[str, Any]:
    """The fields of a spec that differ from their defaults, by path (``training.epochs``).

    A field that a later version adds changes no key as long as it is left out.
    """
    return dict(_leaves("", spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)))


def differences(own: StageKeyRecord, theirs: StageKeyRecord) -> str:
    """Why two keys differ, for people; empty: they do not."""
    if own.sha256 == theirs.sha256:
        return ""
    told = [*_told("", own.spec, theirs.spec), *_told("", own.facts, theirs.facts)]
    told += [f"{name} has another content" for name in sorted(own.inputs.keys() | theirs.inputs.keys()) if _differ(name, own, theirs)]
    if own.algorithm != theirs.algorithm:
        told.append(f"the stage's algorithm has version {own.algorithm}, there {theirs.algorithm}")
    more = f" and {len(told) - _SHOWN_DIFFERENCES} more" if len(told) > _SHOWN_DIFFERENCES else ""
    return ", ".join(told[:_SHOWN_DIFFERENCES]) + more if told else "it is another stage"


def _facts(stage: StageSpec, processes: Processes) -> dict[str, int]:
    facts = {} if stage.steps is None else {"steps": stage.steps}
    if stage.stage in ON_THE_CPU:
        return facts
    facts |= {"threads": stage.threads, "onGpus": int(processes.on_gpus)}
    return facts | ({"processes": processes.count} if stage.stage in TRAINED else {})


def _told(prefix: str, own: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(own.keys() | theirs.keys()):
        if own.get(name) != theirs.get(name):
            yield f"{prefix}{name} is {_shown(own, name)}, there {_shown(theirs, name)}"


def _shown(values: Mapping[str, Any], name: str) -> str:
    text = json.dumps(values[name], ensure_ascii=False) if name in values else "left out"
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def _differ(name: str, own: StageKeyRecord, theirs: StageKeyRecord) -> bool:
    return own.inputs.get(name) != theirs.inputs.get(name)


def _is_read(name: str, outputs: tuple[str, ...]) -> bool:
    return any(name == output or (output.endswith("/") and name.startswith(output)) for output in outputs)


def _is_below(path: str, fields: tuple[str, ...]) -> bool:
    return any(path == field or path.startswith(f"{field}.") for field in fields)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}".removeprefix("."), inner)
    else:
        yield path, value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
