"""Names, types and shapes of a model's tensors, from the headers of its safetensors files: a few kilobytes of files of many gigabytes.

The format (huggingface.co/docs/safetensors): eight bytes with the header's length, the header as JSON, then the tensors without gaps.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_core.data.reading.locations import LocalFolder, Location
from ser_core.errors import SpecError
from ser_core.memory.shape import ModelShape, model_shape

_LENGTH = 8
_LONGEST = 100_000_000
"""The longest header that safetensors itself reads."""
_BITS = (
    dict.fromkeys(("F64", "I64", "U64", "C64"), 64)
    | dict.fromkeys(("F32", "I32", "U32"), 32)
    | dict.fromkeys(("F16", "BF16", "I16", "U16"), 16)
    | dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 8)
)
"""Bits of a number by type; other types are not checked."""
_LOOKED_AT = 1 << 20
"""Bytes of each file's numbers in which one is to be no zero: biases, adapters and new heads that are zero are smaller, or not alone."""
_COPY_AGAIN = "copy the model again"
LFS_POINTER = b"version "
"""How a file begins that Git LFS has not fetched."""
PULL = "run git lfs pull where the model was cloned, then copy it again"
_FOREIGN = (
    (LFS_POINTER, "a Git LFS pointer, not the weights", PULL),
    (b"GGUF", "a GGUF file", "name the original model: GGUF holds rounded weights for inference"),
    (b"PK\x03\x04", "a zip file, such as torch.save writes", "convert it: save_pretrained of transformers writes safetensors"),
    (b"\x80", "a Python pickle", "convert it: save_pretrained of transformers writes safetensors"),
    (b"<", "a web page", "download the weights again; a page in their place often says that a login is missing"),
    (b"\x1f\x8b", "a gzip file", "unpack it"),
)
"""How other files begin, what they are, and what to do."""

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a file, without its numbers."""

    dtype: str
    """Its type as safetensors names it, such as ``BF16``."""
    shape: tuple[int, ...]


def read_tensors(location: Location, files: Iterable[str]) -> dict[str, Tensor]:
    """All tensors by name.

    Args:
        location: Where the model is.
        files: Names of its files; those that end with ``.safetensors`` are read.

    Raises:
        SpecError: A file is no safetensors file or is not whole, or there is no tensor in any (``BadWeights``).
        StoreError: Store or hub cannot be reached.
    """
    weights = [name for name in files if name.endswith(".safetensors")]
    found: dict[str, Tensor] = {}
    for name in weights:
        found |= _tensors(location, name)
    if not found:
        raise SpecError(f"{', '.join(weights)} of {location.pinned}: there is no tensor in it", reason="BadWeights", hint=_COPY_AGAIN)
    return found


def refuse_zeros(location: Location, files: Iterable[str]) -> None:
    """Refuse weights of which every file begins with nothing but zeros: saved before they were loaded, or lost by a disk.

    Raises:
        SpecError: ``BadWeights``.
        StoreError: Store or hub cannot be reached.
    """
    weights = [name for name in files if name.endswith(".safetensors")]
    for name in weights:
        start = _LENGTH + _header_length(location.beginning(name, _LENGTH))
        if location.beginning(name, start + _LOOKED_AT)[start:].strip(b"\0"):
            return
    what = f"{', '.join(weights[:3])} of {location.pinned}: all numbers at the beginning are zero"
    raise SpecError(what, reason="BadWeights", hint="save the model again, after its weights are loaded; or copy it again")


def tensor_shapes(location: Location, files: Iterable[str]) -> Shapes:
    """Shapes of all tensors by name; arguments and errors as of `read_tensors`."""
    return {name: tensor.shape for name, tensor in read_tensors(location, files).items()}


def shape_of_folder(folder: Path) -> ModelShape:
    """The sizes of a model on this machine, without loading it.

    Raises:
        SpecError: A file is no safetensors file (``BadWeights``).
    """
    names = sorted(path.name for path in folder.iterdir())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return model_shape(config, tensor_shapes(LocalFolder(str(folder), dict.fromkeys(names), folder), names))


def _tensors(location: Location, name: str) -> dict[str, Tensor]:
    length, header = _header(location, name)
    found, spans = {}, []
    for tensor, entry in header.items():
        if tensor != "__metadata__":
            found[tensor], span = _entry(location, name, tensor, entry)
            spans.append(span)
    _check_size(location, name, _LENGTH + length, sorted(spans))
    return found


def _header(location: Location, name: str) -> tuple[int, Mapping[str, Any]]:
    start = location.beginning(name, _LENGTH)
    for signature, what, hint in _FOREIGN:
        if start.startswith(signature) and _header_length(start) > _LONGEST:
            raise _damaged(location, name, f"it is {what}", hint)
    length = _header_length(start)
    if not 0 < length <= _LONGEST:
        raise _damaged(location, name, f"it starts with {start!r}" if start else "it is empty")
    content = location.beginning(name, _LENGTH + length)[_LENGTH:]
    if len(content) < length:
        raise _damaged(location, name, f"it is cut off: its header has {len(content)} of {length} bytes")
    try:
        header = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(location, name, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(location, name, "its header is no JSON object")
    return length, header


def _header_length(start: bytes) -> int:
    """What the first bytes say; nothing that safetensors reads where they are too few."""
    number: int = struct.unpack("<Q", start)[0] if len(start) == _LENGTH else _LONGEST + 1
    return number


def _entry(location: Location, name: str, tensor: str, entry: object) -> tuple[Tensor, tuple[int, int]]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if all(
            type(size) is int and size >= 0 for size in shape
        ):
            bits = _BITS.get(dtype)
            if 0 <= begin <= end and (bits is None or math.prod(shape) * bits == (end - begin) * 8):
                return Tensor(dtype, tuple(shape)), (begin, end)
    raise _damaged(location, name, f"its header says of {tensor[:200]!r} only {str(entry)[:200]}")


def _check_size(location: Location, name: str, header: int, spans: list[tuple[int, int]]) -> None:
    place = 0
    for begin, end in spans:
        if begin != place:
            raise _damaged(location, name, f"its tensors overlap or leave a gap at byte {place}")
        place = end
    size = location.sizes.get(name)
    if size is not None and size != header + place:
        cut = "it is cut off: " if size < header + place else ""
        raise _damaged(location, name, f"{cut}it has {size} bytes, and its header tells of {header + place}")


def _damaged(location: Location, name: str, why: str, hint: str = _COPY_AGAIN) -> SpecError:
    return SpecError(f"{name} of {location.pinned} is no whole safetensors file: {why}", reason="BadWeights", hint=hint)
