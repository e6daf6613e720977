"""How a `StageSpec` travels to a stage whose image may be older or newer than what starts it.

Only what a stage reads and what differs from its default is sent. So a field that an older image does not know is one that the user has
set, and the image refuses it by name. All else the image fills in itself, with the same defaults: `ALWAYS_SENT` is for those that differ.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ser_core.api.model import unknown_fields
from ser_core.api.problems import UNKNOWN, problems
from ser_core.api.spec.resources import ResourcesSpec, StageResources
from ser_core.api.stage import StageSpec
from ser_core.api.status import StageKind
from ser_core.errors import SpecError

STAGE, STARTED_BY = "SER_STAGE", "SER_STARTED_BY"
"""Variables that hold the `StageSpec`, and the version of the operator or the `ser` that has started the stage."""
HUB_CREDENTIALS = "SER_HUB_CREDENTIALS"
"""Variable that names the folder of the Secret of `hub.credentialsSecret`, which is mounted for the hub that the spec names."""
IMAGE_TOO_OLD = "StageImageTooOld"

NOT_SENT: Mapping[str, Any] = {
    "resources": True,
    "pod_template": True,
    "suspend": True,
    "queue_name": True,
    "active_deadline": True,
    "ttl_after_finished": True,
    "budget": True,
    "operator_class": True,
    "template_ref": True,
    "reopen": True,
    "retries": True,
    "data": {"split_seed": True},
    "loop": {"max_iterations": True, "stopping": True, "controls": True},
    "storage": {"credentials_secret": True, "ca_bundle_from": True},
    "hub": {"credentials_secret": True},
}
"""The fields of the spec that no stage reads: they are for the planner, the operator and `ser`. `splitSeed` goes to `prepare`
alone, as do `GPUS` of `resources`. Every other field is sent, so that an old image refuses one that is forgotten here, and none is
ever left out by mistake."""

GPUS = ("gpus", "nodes", "gpu_memory")
NOT_WARNED_OF: Mapping[str, Any] = {
    name: True if name in ("prepare", "filter") else dict.fromkeys(StageResources.model_fields.keys() - set(GPUS), True)
    for name in ResourcesSpec.model_fields
}
"""Of `resources`, what `prepare` does not need either: it warns where the GPUs of a later stage are too small."""

ALWAYS_SENT = ("version",)
"""Fields of a `StageSpec` that are sent although they have their default, as dotted paths. One goes in here when its default changes, and
a new one whose default is not what the images without it do: an older image would fill in something else. `loop.folds` is left out all the
same: a run ends by the rule of the image that it began with, and the planner follows what its stages report."""


def write_stage_spec(spec: StageSpec) -> str:
    """``spec`` as JSON for `read_stage_spec` of any version."""
    not_sent = {**NOT_SENT, "resources": NOT_WARNED_OF if spec.stage is StageKind.PREPARE else True}
    sent = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"spec": not_sent})
    full = spec.model_dump(mode="json", by_alias=True)
    for path in (*ALWAYS_SENT, *_split_seed(spec)):
        _copy(full, sent, path.split("."))
    return json.dumps(sent, ensure_ascii=False)


def _split_seed(spec: StageSpec) -> tuple[str, ...]:
    """`prepare` alone reads the seed of the split, and an image of version 0.1.0 splits by `training.seed`."""
    splits_alike = spec.spec.data.split_seed == spec.spec.training.seed == 0
    return () if spec.stage is not StageKind.PREPARE or splits_alike else ("spec.data.splitSeed",)


def read_stage_spec(text: str, image: str, started_by: str | None) -> StageSpec:
    """The stage that ``text`` describes.

    Args:
        text: What `write_stage_spec` of any version wrote.
        image: Version of this image.
        started_by: Version of the writer, if it said so.

    Raises:
        SpecError: It sets fields or values that this image does not know (reason `StageImageTooOld`), or it is no `StageSpec`.
    """
    try:
        spec = StageSpec.model_validate_json(text)
        unknown = unknown_fields(spec)
    except ValidationError as error:
        found = problems(error, StageSpec)
        unknown = tuple(problem.field for problem in found if problem.kind in UNKNOWN)
        if not unknown:
            told = "; ".join(f"{problem.field}: {problem.text}" for problem in found)
            raise SpecError(f"SER_STAGE: {told}", hint="the operator and the stage image must have the same version") from error
    if unknown:
        raise _too_old(unknown, image, started_by)
    return spec


def _too_old(unknown: tuple[str, ...], image: str, started_by: str | None) -> SpecError:
    wanted = f"of version {started_by} or later" if started_by not in (None, image) else "built together with the operator, or later"
    return SpecError(
        f"{', '.join(unknown)}: needs a stage image that knows {'it' if len(unknown) == 1 else 'them'}, and this one ({image}) does not",
        reason=IMAGE_TOO_OLD,
        hint=f"use a stage image {wanted}, or leave {'it' if len(unknown) == 1 else 'them'} out",
    )


def _copy(full: Mapping[str, Any], sent: dict[str, Any], path: list[str]) -> None:
    """Put the value at ``path`` of ``full`` into ``sent``; a part that the spec does not have has no fields to send."""
    name, *rest = path
    if not rest:
        sent[name] = full[name]
    elif isinstance(full[name], dict):
        _copy(full[name], sent.setdefault(name, {}), rest)
