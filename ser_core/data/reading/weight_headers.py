"""Names and shapes of a model's tensors, from the headers of its safetensors files: a few kilobytes of files of many gigabytes.

The format (huggingface.co/docs/safetensors): eight bytes with the header's length, then the header as JSON.
"""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ser_core.data.reading.locations import LocalFolder, Location
from ser_core.errors import SpecError
from ser_core.memory.shape import ModelShape, model_shape

_LENGTH = 8
_LONGEST = 100_000_000
"""The longest header that safetensors itself reads."""

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(location: Location, files: Iterable[str]) -> Shapes:
    """Shapes of all tensors by name.

    Args:
        location: Where the model is.
        files: Names of its files; those that end with ``.safetensors`` are read.

    Raises:
        SpecError: A file is no safetensors file (``BadWeights``).
        StoreError: Store or hub cannot be reached.
    """
    found: Shapes = {}
    for name in files:
        if name.endswith(".safetensors"):
            found |= _shapes(_header(location, name))
    return found


def shape_of_folder(folder: Path) -> ModelShape:
    """The sizes of a model on this machine, without loading it.

    Raises:
        SpecError: A file is no safetensors file (``BadWeights``).
    """
    names = sorted(path.name for path in folder.iterdir())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return model_shape(config, tensor_shapes(LocalFolder(str(folder), dict.fromkeys(names), folder), names))


def _header(location: Location, name: str) -> dict[str, Any]:
    start = location.beginning(name, _LENGTH) if location.sizes.get(name) != 0 else b""
    length = struct.unpack("<Q", start)[0] if len(start) == _LENGTH else 0
    if not 0 < length <= _LONGEST:
        raise _damaged(location, name, f"it starts with {start!r}" if start else "it is empty")
    content = location.beginning(name, _LENGTH + length)[_LENGTH:]
    if len(content) < length:
        raise _damaged(location, name, f"its header has {len(content)} of {length} bytes")
    try:
        header = json.loads(content)
    except ValueError as error:
        raise _damaged(location, name, "its header is no JSON") from error
    if not isinstance(header, dict):
        raise _damaged(location, name, "its header is no JSON object")
    return header


def _shapes(header: dict[str, Any]) -> Shapes:
    return {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__" and isinstance(tensor, dict)}


def _damaged(location: Location, name: str, why: str) -> SpecError:
    return SpecError(
        f"{name} of {location.pinned} is no safetensors file: {why}",
        reason="BadWeights",
        hint="copy the model again; a Git LFS pointer is a text file that git lfs pull replaces by the weights",
    )
