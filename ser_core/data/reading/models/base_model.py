"""A base model, checked by its files.

Only the standard library and the hub client. Whether the tensors fit the network is asked of transformers
(`ser_core.learn.base_models.trial`).
"""

import codecs
import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.models.needed_files import GENERATION, settings_files, tokenizer_files, unrecognised, weight_files
from ser_core.data.reading.models.other_formats import INDEX
from ser_core.data.reading.models.positions import check_max_length
from ser_core.data.reading.models.refusals import (
    refuse_large,
    refuse_odd_sizes,
    refuse_pointer,
    refuse_quantisation,
    refuse_quantised_numbers,
    refuse_remote_code,
    refused,
)
from ser_core.data.reading.models.weight_headers import Tensor, read_tensors, refuse_zeros
from ser_core.errors import SpecError
from ser_core.memory.shape import ModelShape, model_shape


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model that passed the checks; nothing but its small JSON files has been copied yet."""

    location: Location
    files: tuple[str, ...]
    """Names to copy."""
    model_type: str
    config: Mapping[str, Any]
    """Content of config.json."""

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of all files but the weights."""
        return tuple(name for name in self.files if name != INDEX and not name.endswith(".safetensors"))

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors without their numbers, read from the headers of its weights.

        Raises:
            SpecError: A file is not whole or no safetensors file, or all hold zeros (``BadWeights``); the numbers are quantised
                (``ModelNotSupported``).
            StoreError: Store or hub cannot be reached.
        """
        found = read_tensors(self.location, self.files)
        refuse_quantised_numbers(found, self.location.pinned)
        refuse_zeros(self.location, self.files)
        return found

    def shape(self, tensors: Mapping[str, Tensor]) -> ModelShape:
        """Its sizes, from its `tensors`."""
        return model_shape(self.config, {name: tensor.shape for name, tensor in tensors.items()})

    def fetch(self, folder: Path, alive: Callable[[], None]) -> dict[str, Path]:
        """Local copies of all files by name; ``alive`` is called after each."""
        paths = {}
        for name in self.files:
            paths[name] = self.location.fetch(name, folder)
            alive()
        return paths


def check_base_model(spec: RewardModelSpec, access: Access, folder: Path) -> BaseModel:
    """Find the base model and check everything that can be checked without its weights.

    Args:
        spec: Which model, which revision, how long its inputs are.
        access: How stores and the hub are reached.
        folder: For the JSON files that are read; created.

    Raises:
        SpecError: ``ModelNotFound``, ``NoSafetensors``, ``MissingShard``, ``NoTokenizer``, ``RemoteCode``, ``BadModelConfig``
            ``ModelNotSupported`` (quantised) or ``MaxLengthTooLarge``.
        StoreError: Store or hub cannot be reached.
    """
    with named("rewardModel.base"):
        model = _check_files(spec.base, spec.revision, access, folder)
    check_max_length(model.config, spec.max_length, "rewardModel.maxLength")
    return model


def check_policy_base(spec: PolicySpec, access: Access, folder: Path) -> BaseModel:
    """The same for the policy's base, whose longest row is a prompt with its answer. Its generator must be installed here.

    Raises:
        SpecError: As of `check_base_model`, or ``MissingPackage``.
        StoreError: Store or hub cannot be reached.
    """
    if spec.generator == "vllm" and find_spec("vllm") is None:
        raise SpecError(
            "policy.generator: vllm is not installed",
            reason="MissingPackage",
            hint="install the extras jobs and vllm where the stages run (docs/install.md), or leave policy.generator out",
        )
    with named("policy.base"):
        model = _check_files(spec.base, spec.revision, access, folder)
        if GENERATION in model.settings:
            _read_json(model.location, GENERATION, folder)
    check_max_length(model.config, spec.row_tokens, "policy.promptTokens + policy.answerTokens =")
    return model


def _check_files(base: str, revision: str | None, access: Access, folder: Path) -> BaseModel:
    location = locate(base, access, "model", revision)
    names = set(location.sizes)
    if "config.json" not in names:
        raise unrecognised("ModelNotFound", names, base)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*settings_files(names), *tokenizer_files(names, base), *(names & {INDEX})):
        refuse_large(name, location.sizes[name], base)
    config = _read_json(location, "config.json", folder)
    refuse_remote_code(config, "config.json")
    if "tokenizer_config.json" in names:
        refuse_remote_code(_read_json(location, "tokenizer_config.json", folder), "tokenizer_config.json")
    refuse_quantisation(config, base)
    refuse_odd_sizes(config, base)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise refused("BadModelConfig", f"config.json of {base} has no model_type", "save the model with transformers' save_pretrained")
    for name in tokenizer_files(names, base):
        refuse_pointer(location, name)
    index = _read_json(location, INDEX, folder) if INDEX in names else None
    files = (*settings_files(names), *tokenizer_files(names, base), *weight_files(names, index, base))
    return BaseModel(location, tuple(dict.fromkeys(files)), model_type, config)


def _read_json(location: Location, name: str, folder: Path) -> dict[str, Any]:
    refuse_pointer(location, name)
    path = location.fetch(name, folder)
    refuse_large(name, path.stat().st_size, location.pinned)
    found = path.read_bytes()
    if found.startswith(codecs.BOM_UTF8):
        what = f"{name} of {location.pinned} begins with a byte order mark, which transformers does not read"
        raise refused("BadModelConfig", what, "save it as UTF-8 without the mark")
    try:
        content = json.loads(found)
    except (ValueError, RecursionError) as error:
        raise refused("BadModelConfig", f"{name} of {location.pinned} is no JSON: {error}", "copy the model again") from error
    if not isinstance(content, dict):
        raise refused("BadModelConfig", f"{name} of {location.pinned} is no JSON object", "copy the model again")
    return content


@contextlib.contextmanager
def named(field: str) -> Iterator[None]:
    """Say in an error which field of the specification the model stands in."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{field}: {error.message}", reason=error.reason, hint=error.hint) from error
