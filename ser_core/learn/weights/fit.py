"""Whether a folder's weights fit the network that transformers makes of its configuration.

transformers leaves numbers at random where a file has no tensor of the right name and shape, and goes on. Here that is an error, but for
the score head: a base model has none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ser_core.errors import SpecError
from ser_core.learn.compute.parts import heads

_ADAPTER = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector)\.")
_LAYER = re.compile(r"^(.*)\.(\d+)\.")
_PREFIXES = {
    "_orig_mod.": ("torch.compile", "model._orig_mod.save_pretrained"),
    "module.": ("DistributedDataParallel", "model.module.save_pretrained"),
    "_fsdp_wrapped_module.": ("FSDP", "save_pretrained with the gathered state"),
    "_checkpoint_wrapped_module.": ("a wrapper that recomputes activations", "save_pretrained of the module inside it"),
    "base_model.model.": ("peft", "merge_and_unload, then save_pretrained"),
    "pretrained_model.": ("TRL's value head", "model.pretrained_model.save_pretrained"),
}
"""What other tools leave in the names of tensors, which tools those are, and what writes the plain names."""
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a network took from its file."""

    new: tuple[str, ...]
    """Parts that the file has no weights for: the score head, with it the pooler. They start at random."""
    surplus: tuple[str, ...]
    """Layers of the file that the network does not have."""
    unused: tuple[str, ...]
    """Tensors of the file that the network does not have, of all kinds."""


def refuse_unfit(network: Any, told: Mapping[str, Any], field: str, *, new_head: bool) -> Loaded:
    """Refuse a network that would start from random numbers, or from a part of what its file holds.

    Args:
        network: As `from_pretrained` returned it.
        told: transformers' loading info of it (``output_loading_info``), with sizes that differ reported and not raised.
        field: Of the specification, for the message.
        new_head: Whether its head, with the pooler, may be new.

    Raises:
        SpecError: ``ModelNotSupported``, with names of the tensors and what to do.
    """
    free = (*(f"{name}." for name in heads(network)), f"{network.base_model_prefix}.pooler.") if new_head else ()
    missing = sorted(told["missing_keys"])
    other_size = {name: (tuple(file), tuple(wanted)) for name, file, wanted in told["mismatched_keys"]}
    unexpected = sorted(told["unexpected_keys"])
    lacking = [name for name in missing if not name.startswith(free)]
    unlike = {name: sizes for name, sizes in sorted(other_size.items()) if not name.startswith(free)}
    if lacking:
        raise _refused(f"{field}: {_lacking(network, lacking, unexpected)}", _remedy(unexpected))
    if unlike:
        raise _refused(f"{field}: {_unlike(unlike)}", _size_remedy(unlike))
    if ignored := [name for name in unexpected if _ADAPTER.search(name)]:
        raise _refused(
            f"{field}: its weights hold a LoRA adapter that is not merged: {_some(ignored)}",
            "merge it before saving: merge_and_unload, then save_pretrained",
        )
    if strange := [name for name in unexpected if not name.startswith(free) and _is_of_a_layer(network, name)]:
        raise _refused(
            f"{field}: its weights hold what a {network.config.model_type} of this config.json does not use: {_some(strange)}",
            "copy config.json and weights of one and the same model",
        )
    new = {name.removesuffix(".") for name in free if any(one.startswith(name) for one in (*missing, *other_size))}
    others = [name for name in unexpected if not name.startswith(free)]
    return Loaded(tuple(sorted(new)), tuple(sorted(_surplus_layers(network, others))), tuple(unexpected))


def other_heads(loaded: Loaded, rows: Mapping[str, int]) -> list[str]:
    """Matrices of a file that gave a score, in place of which the network has a new head.

    Args:
        loaded: What the network took from its file.
        rows: Of each matrix of the file: how many numbers it gives.
    """
    heads_of_new = tuple(f"{name}." for name in loaded.new)
    of_no_layer = [name for name in loaded.unused if name in rows and _LAYER.match(name) is None and "predictions" not in name]
    of_new = [name for name in loaded.unused if name in rows and name.startswith(heads_of_new)]
    return sorted({*of_new, *(name for name in of_no_layer if rows[name] == 1)}) if loaded.new else []


def refuse_not_finite(weights: Mapping[str, Any], field: str) -> None:
    """Refuse weights that hold NaN or infinite numbers: all scores would.

    Raises:
        SpecError: ``ModelNotSupported``, with names of the tensors.
    """
    # A sum is finite where all its terms are, and needs no memory; one that is not may still be too large a sum.
    suspect = {name: weight for name, weight in weights.items() if not weight.sum().isfinite()}
    if bad := [name for name, weight in suspect.items() if not weight.isfinite().all()]:
        raise _refused(
            f"{field}: its weights hold NaN or infinite numbers: {_some(bad)}",
            "take an earlier checkpoint of the model, or save it again in bf16 or fp32: fp16 holds no number above 65,504",
        )


def _lacking(network: Any, lacking: list[str], unexpected: list[str]) -> str:
    held = sum(1 for _ in network.state_dict())
    there = f"; the file has {_some(unexpected)}" if unexpected else ""
    tool = next((f", as {tool} names them" for prefix, (tool, _) in _PREFIXES.items() if _any_has(unexpected, prefix)), "")
    return f"{len(lacking)} of the {held} tensors of this {network.config.model_type} are not in its weights: {_some(lacking)}{there}{tool}"


def _remedy(unexpected: list[str]) -> str:
    for prefix, (_, writes) in _PREFIXES.items():
        if _any_has(unexpected, prefix):
            return f"save it again with {writes}, or take {prefix} off the tensors' names"
    return (
        "copy the model again, config.json and all weights of one and the same model; save_pretrained of transformers writes them together"
    )


def _any_has(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) or f".{prefix}" in name for name in names)


def _unlike(unlike: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    (name, (file, wanted)), *rest = unlike.items()
    more = f", and {len(rest)} more" if rest else ""
    return f"{name} is {list(file)} in its weights and {list(wanted)} by its config.json{more}"


def _size_remedy(unlike: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    if any(0 in file for file, _ in unlike.values()):
        return "save it again with all weights gathered (ZeRO-3: stage3_gather_16bit_weights_on_model_save, or zero_to_fp32.py)"
    return "copy config.json and weights of one and the same model"


def _is_of_a_layer(network: Any, name: str) -> bool:
    """Whether a tensor without a place would be part of a layer that the network has: it stands beside a tensor that has a place, as a bias
    that the configuration switches off, or in a part that such a layer lacks, as a norm of queries."""
    owner, _, last = name.rpartition(".")
    part, layer = _module(network, owner), _LAYER.match(name)
    if part is not None:
        return last != "_extra_state" and next(part.parameters(recurse=False), None) is not None
    return last in ("weight", "bias") and layer is not None and _module(network, f"{layer[1]}.{layer[2]}") is not None


def _surplus_layers(network: Any, unexpected: list[str]) -> set[str]:
    layers = {(layer[1], layer[2]) for name in unexpected if (layer := _LAYER.match(name))}
    found = {f"{several}.{number}" for several, number in layers if _module(network, several) is not None}
    return {one for one in found if _module(network, one) is None}


def _module(network: Any, name: str) -> Any:
    """The part of a network that tensors' names call so, with or without the prefix of its trunk; None: there is none."""
    modules = dict(network.named_modules())
    places = (name, f"{network.base_model_prefix}.{name}") if name else ()
    return next((modules[place] for place in places if place in modules), None)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:120] for name in names[:_SHOWN]) + more


def _refused(message: str, hint: str) -> SpecError:
    return SpecError(message, reason="ModelNotSupported", hint=hint)
