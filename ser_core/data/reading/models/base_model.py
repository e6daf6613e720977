"""A base model's files: which ones a run needs, what is refused, and whether its positions reach the longest row.

Only the standard library and the hub client. Whether the tensors fit the network is asked of transformers, in `ser_core.learn.base_models`.
"""

import codecs
import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.data.reading.locations import Access, Location, locate
from ser_core.data.reading.models.other_formats import INDEX, WEIGHTS, recognise
from ser_core.data.reading.models.weight_headers import LFS_POINTER, PULL, Tensor, read_tensors, refuse_zeros
from ser_core.errors import SpecError
from ser_core.memory.shape import ModelShape, model_shape

TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("tokenizer.model",),
    ("spiece.model",),
    ("sentencepiece.bpe.model",),
)
"""Any one of these sets of files makes a tokenizer."""
GENERATION = "generation_config.json"
SETTINGS = (
    "config.json",
    GENERATION,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_MOST_BYTES = 64 << 20
"""Of a file that is no weights. The largest are tokenizers of 35 MB; read as JSON, twenty times its size may be needed."""
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
"""Numbers of config.json of which transformers finds only while it computes that they make no sense. Some families have lists."""
_OWN_IMPLEMENTATIONS = (None, "eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
"""What transformers computes attention and experts by itself."""
_PACKED = ("F8_", "F6_", "F4")
"""How the types of quantised numbers begin; integers are such too where they are a layer's weight."""
_NO_WEIGHTS = frozenset({"BOOL", "C64", "C128"})
_INTEGERS = frozenset({"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"})
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
        raise _unrecognised("ModelNotFound", names, base)
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
        raise _refused("BadModelConfig", f"config.json of {base} has no model_type", "save the model with transformers' save_pretrained")
    for name in tokenizer_files(names, base):
        refuse_pointer(location, name)
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
    shards = [] if index is None else _shards(names, index, base)
    if shards and (WEIGHTS in shards or WEIGHTS not in names):  # of both, transformers reads the one file
        return [INDEX, *shards]
    if WEIGHTS in names:
        return [WEIGHTS]
    raise _unrecognised("NoSafetensors", names, base)


def _shards(names: Collection[str], index: Mapping[str, Any], base: str) -> list[str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(name, str) for name in weight_map.values()):
        raise _refused("MissingShard", f"{base}: weight_map of {INDEX} names no file", "copy the model again, or remove a stray index")
    shards = sorted(set(weight_map.values()))
    if others := [name for name in shards if not name.endswith(".safetensors")]:
        raise _refused(
            "NoSafetensors",
            f"{base}: {INDEX} names {', '.join(others[:3])}, and only safetensors are loaded",
            "convert the model: save_pretrained of transformers writes safetensors with an index of their own",
        )
    if missing := [name for name in shards if name not in names]:
        stray = ", or remove the index, if all weights stand in " + WEIGHTS if WEIGHTS in names else ""
        told = f"{base}: {INDEX} names {', '.join(missing[:3])}, which is not there"
        raise _refused("MissingShard", told, f"copy the model again{stray}")
    return shards


def refuse_quantisation(config: Mapping[str, Any], base: str) -> None:
    """Raise `SpecError` ``ModelNotSupported`` when a configuration says that the weights are quantised."""
    for part in (config, *(content for content in config.values() if isinstance(content, dict))):
        found = part.get("quantization_config") or part.get("compression_config")
        if found:
            method = found.get("quant_method") if isinstance(found, dict) else found
            raise _quantised(f"{base} is quantised: config.json says {str(method)[:100]}")


def refuse_quantised_numbers(tensors: Mapping[str, Tensor], base: str) -> None:
    """Raise `SpecError` ``ModelNotSupported`` when weights are stored as integers, in 8 bits and less, or as no real numbers."""
    for name, tensor in tensors.items():
        if tensor.dtype.startswith(_PACKED) or (tensor.dtype in _INTEGERS and name.endswith("weight")):
            raise _quantised(f"{base} is quantised: {name} holds {tensor.dtype}")
        if tensor.dtype in _NO_WEIGHTS and name.endswith("weight"):
            raise _refused(
                "ModelNotSupported", f"{base}: {name} holds {tensor.dtype}, which no layer computes with", "save it in bf16 or fp32"
            )


def _quantised(message: str) -> SpecError:
    return _refused("ModelNotSupported", message, "name the model that it was made from, with weights in bf16, fp16 or fp32")


def refuse_odd_sizes(config: Mapping[str, Any], base: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a size in a configuration is no number above zero."""
    for name in _SIZES:
        value = config.get(name)
        if isinstance(value, bool | str) or (isinstance(value, int | float) and not value >= 1):
            raise _refused(
                "BadModelConfig", f"config.json of {base}: {name} is {value!r}, expected a number above zero", "copy the model again"
            )


def refuse_remote_code(config: Mapping[str, Any], name: str) -> None:
    """Raise `SpecError` ``RemoteCode`` when a configuration asks for Python code of its own."""
    if config.get("auto_map"):
        raise _refused(
            "RemoteCode",
            f"{name} has auto_map: the model needs Python code of its own, which is never run",
            "use a model that transformers knows",
        )
    for key, value in _implementations(config):
        if value not in _OWN_IMPLEMENTATIONS:
            raise _refused(
                "RemoteCode",
                f"{name} has {key} {str(value)[:100]!r}: code that transformers would fetch, which is never run",
                f"remove {key} from it",
            )


def _implementations(config: Any) -> Iterator[tuple[str, Any]]:
    """What a configuration, or a part of it, says computes its layers; transformers takes a hub's kernels for it too."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.strip("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
            yield from ((key, one) for one in (value.values() if isinstance(value, dict) else [value]))
        else:
            yield from _implementations(value)


def longest_input(config: Mapping[str, Any]) -> int | None:
    """Tokens that the model's positions reach; None when it has no limit of its own."""
    limit = _positions(config)
    if not isinstance(limit, int) or limit <= 0 or config.get("position_biased_input") is False:
        return None
    if config.get("model_type") in _POSITIONS_AFTER_PADDING:
        padding = config.get("pad_token_id")
        return limit - (padding if isinstance(padding, int) else 1) - 1
    return limit


def _positions(config: Mapping[str, Any]) -> Any:
    """What a configuration says of them; one that has a part for each kind of input says it in that of text."""
    found = config.get("max_position_embeddings", config.get("n_positions"))
    text = config.get("text_config")
    return _positions(text) if found is None and isinstance(text, dict) else found


def check_max_length(config: Mapping[str, Any], max_length: int, field: str) -> None:
    """Raise `SpecError` ``MaxLengthTooLarge`` when ``max_length``, the value of ``field``, is more than the model's positions reach."""
    longest = longest_input(config)
    if longest is not None and max_length > longest:
        raise SpecError(
            f"{field} {max_length} is more than the {longest} tokens that the model takes (max_position_embeddings {_positions(config)})",
            reason="MaxLengthTooLarge",
            hint=f"set {field.rstrip(' =')} to at most {longest}",
        )


def _read_json(location: Location, name: str, folder: Path) -> dict[str, Any]:
    refuse_pointer(location, name)
    path = location.fetch(name, folder)
    refuse_large(name, path.stat().st_size, location.pinned)
    found = path.read_bytes()
    if found.startswith(codecs.BOM_UTF8):
        what = f"{name} of {location.pinned} begins with a byte order mark, which transformers does not read"
        raise _refused("BadModelConfig", what, "save it as UTF-8 without the mark")
    try:
        content = json.loads(found)
    except (ValueError, RecursionError) as error:
        raise _refused("BadModelConfig", f"{name} of {location.pinned} is no JSON: {error}", "copy the model again") from error
    if not isinstance(content, dict):
        raise _refused("BadModelConfig", f"{name} of {location.pinned} is no JSON object", "copy the model again")
    return content


def refuse_large(name: str, size: int | None, base: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a file that is no weights has more bytes than any model needs. None: it is not told."""
    if size is not None and size > _MOST_BYTES:
        told = f"{name} of {base} has {size / 1e6:,.0f} MB, and more than {_MOST_BYTES / 1e6:,.0f} are not read"
        raise _refused("BadModelConfig", told, "name another model: the file is damaged, or made to do harm")


def refuse_pointer(location: Location, name: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a file is what Git keeps in place of a large one."""
    if location.beginning(name, len(LFS_POINTER)) == LFS_POINTER:
        raise _refused("BadModelConfig", f"{name} of {location.pinned} is a Git LFS pointer, not the file", PULL)


def _unrecognised(reason: str, names: Collection[str], base: str) -> SpecError:
    what, hint = recognise(names)
    return _refused(reason, f"{base} holds {what}", hint)


def _refused(reason: str, message: str, hint: str) -> SpecError:
    return SpecError(message, reason=reason, hint=hint)


@contextlib.contextmanager
def named(field: str) -> Iterator[None]:
    """Say in an error which field of the specification the model stands in."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{field}: {error.message}", reason=error.reason, hint=error.hint) from error
