"""Which files of a base model a run needs."""

from collections.abc import Collection, Mapping
from typing import Any

from ser_core.data.reading.models.other_formats import INDEX, WEIGHTS, recognise
from ser_core.data.reading.models.refusals import refused
from ser_core.errors import SpecError

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


def settings_files(names: Collection[str]) -> list[str]:
    """Configuration files that are there."""
    return [name for name in SETTINGS if name in names]


def tokenizer_files(names: Collection[str], base: str) -> list[str]:
    """All tokenizer files that are there. Raises `SpecError` ``NoTokenizer`` when they make none."""
    if not any(all(name in names for name in files) for files in TOKENIZERS):
        raise refused("NoTokenizer", f"{base} has no tokenizer", f"add one of {', '.join('+'.join(files) for files in TOKENIZERS)}")
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
    raise unrecognised("NoSafetensors", names, base)


def unrecognised(reason: str, names: Collection[str], base: str) -> SpecError:
    """The error for files that make no model; it says what they are."""
    what, hint = recognise(names)
    return refused(reason, f"{base} holds {what}", hint)


def _shards(names: Collection[str], index: Mapping[str, Any], base: str) -> list[str]:
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(name, str) for name in weight_map.values()):
        raise refused("MissingShard", f"{base}: weight_map of {INDEX} names no file", "copy the model again, or remove a stray index")
    shards = sorted(set(weight_map.values()))
    if others := [name for name in shards if not name.endswith(".safetensors")]:
        raise refused(
            "NoSafetensors",
            f"{base}: {INDEX} names {', '.join(others[:3])}, and only safetensors are loaded",
            "convert the model: save_pretrained of transformers writes safetensors with an index of their own",
        )
    if missing := [name for name in shards if name not in names]:
        stray = ", or remove the index, if all weights stand in " + WEIGHTS if WEIGHTS in names else ""
        told = f"{base}: {INDEX} names {', '.join(missing[:3])}, which is not there"
        raise refused("MissingShard", told, f"copy the model again{stray}")
    return shards
