"""A base model's files: which ones a run needs, what is refused, and whether its positions reach the longest row.

Only the standard library and the hub client: `ser validate` checks a model without torch.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ser_core.api.policy import PolicySpec
from ser_core.api.serrun import RewardModelSpec
from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.weight_headers import tensor_shapes
from ser_core.errors import SpecError
from ser_core.memory.shape import ModelShape, model_shape

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
)
"""Any one of these sets of files makes a tokenizer."""
SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PICKLES = ("pytorch_model", "model.bin", "tf_model", "flax_model", "model.pt", "model.pth")
_POSITIONS_AFTER_PADDING = frozenset(
    {
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "xmod",
        "data2vec-text",
        "longformer",
        "esm",
        "ibert",
    }
)
"""Model types whose first position is pad_token_id + 1, so that the table holds fewer tokens than it has rows."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A model that passed the checks; nothing but its small JSON files has been copied yet."""

    location: Location
    files: tuple[str, ...]
    """Names to copy."""
    model_type: str
    config: Mapping[str, Any]
    """Content of config.json."""

    def shape(self) -> ModelShape:
        """Its sizes, read from the headers of its weights."""
        return model_shape(self.config, tensor_shapes(self.location, self.files))

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
            or ``MaxLengthTooLarge``.
        StoreError: Store or hub cannot be reached.
    """
    with _named("rewardModel.base"):
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
    with _named("policy.base"):
        model = _check_files(spec.base, spec.revision, access, folder)
    check_max_length(model.config, spec.prompt_tokens + spec.answer_tokens, "policy.promptTokens + policy.answerTokens =")
    return model


def _check_files(base: str, revision: str | None, access: Access, folder: Path) -> BaseModel:
    location = locate(base, access, "model", revision)
    names = set(location.sizes)
    if "config.json" not in names:
        raise _refused("ModelNotFound", f"{base} has no config.json", "name the folder of a transformers model")
    folder.mkdir(parents=True, exist_ok=True)
    config = _read_json(location, "config.json", folder)
    refuse_remote_code(config, "config.json")
    if "tokenizer_config.json" in names:
        refuse_remote_code(_read_json(location, "tokenizer_config.json", folder), "tokenizer_config.json")
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise _refused("BadModelConfig", f"config.json of {base} has no model_type", "save the model with transformers' save_pretrained")
    index = _read_json(location, INDEX, folder) if INDEX in names else None
    files = (*settings_files(names), *tokenizer_files(names, base), *weight_files(names, index, base))
    return BaseModel(location, tuple(dict.fromkeys(files)), model_type, config)


def settings_files(names: Collection[str]) -> list[str]:
    """Configuration files that are there."""
    return [name for name in SETTINGS if name in names]


def tokenizer_files(names: Collection[str], base: str) -> list[str]:
    """All tokenizer files that are there. Raises `SpecError` ``NoTokenizer`` when they make none."""
    if not any(all(name in names for name in files) for files in TOKENIZERS):
        raise _refused("NoTokenizer", f"{base} has no tokenizer", f"add one of {', '.join('+'.join(files) for files in TOKENIZERS)}")
    return [name for files in TOKENIZERS for name in files if name in names]


def weight_files(names: Collection[str], index: Mapping[str, Any] | None, base: str) -> list[str]:
    """The weights: the shards that the index names, else the one file.

    Raises:
        SpecError: There are no safetensors weights, or a shard is missing.
    """
    if index is not None:
        shards = sorted(set(index.get("weight_map", {}).values()))
        missing = [name for name in shards if name not in names]
        if missing or not shards:
            raise _refused(
                "MissingShard", f"{base}: {INDEX} names {', '.join(missing) or 'no file'}, which is not there", "copy the model again"
            )
        return [INDEX, *shards]
    if WEIGHTS in names:
        return [WEIGHTS]
    pickles = [name for name in names if name.startswith(_PICKLES)]
    what = f"only {', '.join(sorted(pickles)[:3])}" if pickles else "no weights"
    raise _refused(
        "NoSafetensors", f"{base} has {what}, and pickled weights are never loaded", "convert it: save_pretrained writes safetensors"
    )


def refuse_remote_code(config: Mapping[str, Any], name: str) -> None:
    """Raise `SpecError` ``RemoteCode`` when a configuration asks for Python code of its own."""
    if config.get("auto_map"):
        raise _refused(
            "RemoteCode",
            f"{name} has auto_map: the model needs Python code of its own, which is never run",
            "use a model that transformers knows",
        )


def longest_input(config: Mapping[str, Any]) -> int | None:
    """Tokens that the model's positions reach; None when it has no limit of its own."""
    limit = config.get("max_position_embeddings", config.get("n_positions"))
    if not isinstance(limit, int) or limit <= 0 or config.get("position_biased_input") is False:
        return None
    if config.get("model_type") in _POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return limit - (padding if isinstance(padding, int) else 1) - 1
    return limit


def check_max_length(config: Mapping[str, Any], max_length: int, field: str) -> None:
    """Raise `SpecError` ``MaxLengthTooLarge`` when ``max_length``, the value of ``field``, is more than the model's positions reach."""
    longest = longest_input(config)
    if longest is not None and max_length > longest:
        raise SpecError(
            f"{field} {max_length} is more than the {longest} tokens that the model takes "
            f"(max_position_embeddings {config.get('max_position_embeddings', config.get('n_positions'))})",
            reason="MaxLengthTooLarge",
            hint=f"set {field.rstrip(' =')} to at most {longest}",
        )


def _read_json(location: Location, name: str, folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(location.fetch(name, folder).read_bytes())
    except ValueError as error:
        raise _refused("BadModelConfig", f"{name} of {location.pinned} is no JSON: {error}", "copy the model again") from error
    if not isinstance(content, dict):
        raise _refused("BadModelConfig", f"{name} of {location.pinned} is no JSON object", "copy the model again")
    return content


def _refused(reason: str, message: str, hint: str) -> SpecError:
    return SpecError(message, reason=reason, hint=hint)


@contextlib.contextmanager
def _named(field: str) -> Iterator[None]:
    """Say which field the model stands in."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{field}: {error.message}", reason=error.reason, hint=error.hint) from error
