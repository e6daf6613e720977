"""What the inputs of `prepare` hold: a commit of the hub, else the digest of the files that are read. One text for each field of the spec.

Told of a committed `prepare` by its provenance, and of the inputs as they are now; equal texts mean equal bytes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ser_core.api.serrun import SERRunSpec
from ser_core.api.spec.places import PlaceSpec
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import BaseModel, check_base_model, check_policy_base
from ser_core.data.reading.sources import open_source
from ser_core.store.stages.commit import sha256_of
from ser_core.store.stages.manifest import OutputFile

_MODELS = {"baseModel": ("rewardModel.base", "model"), "policy": ("policy.base", "policy")}
"""In the provenance: field of the spec, and folder of the outputs."""


def recorded_origins(provenance: Mapping[str, Any], outputs: Mapping[str, OutputFile]) -> dict[str, str]:
    """What the inputs held when ``provenance.json`` was written, beside the ``outputs`` of the same `prepare`."""
    found = {}
    for name, (field, folder) in _MODELS.items():
        if name in provenance:
            files = {file: outputs[f"{folder}/{file}"].sha256 for file in provenance[name]["files"]}
            found[field] = _origin(provenance[name]["pinned"], files)
    sources = {f"data.{part}.uri": entry for part, entry in provenance["data"].items()}
    sources |= {"policy.prompts.uri": provenance["prompts"]} if "prompts" in provenance else {}
    return found | {
        field: _origin(entry["pinned"], {file["name"]: file["sha256"] for file in entry["files"]}) for field, entry in sources.items()
    }


def present_origins(spec: SERRunSpec, access: Access, folder: Path, alive: Callable[[], None]) -> dict[str, str]:
    """What the inputs hold now. Models are checked as `prepare` checks them.

    Args:
        spec: Names the inputs.
        access: How stores and the hub are reached.
        folder: For what must be fetched to be read; created.
        alive: Called after every file.

    Raises:
        SpecError, DataError, StoreError: As `prepare` would.
    """
    models = {"rewardModel.base": check_base_model(spec.reward_model, access, folder / "model")}
    if spec.policy is not None:
        models["policy.base"] = check_policy_base(spec.policy, access, folder / "policy")
    found = {field: _of_model(model, folder / "weights" / field, alive) for field, model in models.items()}
    for field, uri in spec.inputs.items():
        if field not in models:
            source = open_source(uri, access, folder / "data" / field, alive, _place(spec, field))
            found[field] = _origin(source.pinned, {file.name: sha256_of(file.path) for file in source.files})
    return found


def _place(spec: SERRunSpec, field: str) -> PlaceSpec | None:
    """What names the files, of a field such as ``data.seed.uri``."""
    owner, name, _ = field.split(".")
    found: PlaceSpec | None = getattr(spec.data if owner == "data" else spec.policy, name)
    return found


def _of_model(model: BaseModel, folder: Path, alive: Callable[[], None]) -> str:
    if _has_commit(model.location.pinned):
        return model.location.pinned
    folder.mkdir(parents=True)
    return _origin(model.location.pinned, {name: sha256_of(path) for name, path in model.fetch(folder, alive).items()})


def _origin(pinned: str, files: Mapping[str, str]) -> str:
    return pinned if _has_commit(pinned) else f"sha256:{hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()}"


def _has_commit(pinned: str) -> bool:
    return pinned.startswith("hf://")
