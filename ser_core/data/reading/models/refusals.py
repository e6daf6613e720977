"""What of a base model's files is refused, each with its reason and remedy."""

from collections.abc import Iterator, Mapping
from typing import Any

from ser_core.data.reading.locations import Location
from ser_core.data.reading.models.weight_headers import LFS_POINTER, PULL, Tensor
from ser_core.errors import SpecError

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


def refused(reason: str, message: str, hint: str) -> SpecError:
    """The error for a base model that cannot be used."""
    return SpecError(message, reason=reason, hint=hint)


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
            raise refused(
                "ModelNotSupported", f"{base}: {name} holds {tensor.dtype}, which no layer computes with", "save it in bf16 or fp32"
            )


def refuse_odd_sizes(config: Mapping[str, Any], base: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a size in a configuration is no number above zero."""
    for name in _SIZES:
        value = config.get(name)
        if isinstance(value, bool | str) or (isinstance(value, int | float) and not value >= 1):
            raise refused(
                "BadModelConfig", f"config.json of {base}: {name} is {value!r}, expected a number above zero", "copy the model again"
            )


def refuse_remote_code(config: Mapping[str, Any], name: str) -> None:
    """Raise `SpecError` ``RemoteCode`` when a configuration asks for Python code of its own."""
    if config.get("auto_map"):
        raise refused(
            "RemoteCode",
            f"{name} has auto_map: it asks for Python code of its own, which is never run",
            "name a model that transformers knows; where it knows this one all the same, a copy without auto_map",
        )
    for key, value in _implementations(config):
        if value not in _OWN_IMPLEMENTATIONS:
            raise refused(
                "RemoteCode",
                f"{name} has {key} {str(value)[:100]!r}: code that transformers would fetch, which is never run",
                f"remove {key} from it",
            )


def refuse_large(name: str, size: int | None, base: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a file that is no weights has more bytes than any model needs. None: it is not told."""
    if size is not None and size > _MOST_BYTES:
        told = f"{name} of {base} has {size / 1e6:,.0f} MB, and more than {_MOST_BYTES / 1e6:,.0f} are not read"
        raise refused("BadModelConfig", told, "name another model: the file is damaged, or made to do harm")


def refuse_pointer(location: Location, name: str) -> None:
    """Raise `SpecError` ``BadModelConfig`` when a file is what Git keeps in place of a large one."""
    if location.beginning(name, len(LFS_POINTER)) == LFS_POINTER:
        raise refused("BadModelConfig", f"{name} of {location.pinned} is a Git LFS pointer, not the file", PULL)


def _quantised(message: str) -> SpecError:
    return refused("ModelNotSupported", message, "name the model that it was made from, with weights in bf16, fp16 or fp32")


def _implementations(config: Any) -> Iterator[tuple[str, Any]]:
    """What a configuration, or a part of it, says computes its layers; transformers takes a hub's kernels for it too."""
    for key, value in config.items() if isinstance(config, dict) else ():
        if key.strip("_").removesuffix("_internal") in ("attn_implementation", "experts_implementation"):
            yield from ((key, one) for one in (value.values() if isinstance(value, dict) else [value]))
        else:
            yield from _implementations(value)
