"""What the processes of a training have saved, each the numbers that it owns: in safetensors files, read as whole tensors.

| key | tensor |
|---|---|
| NAME | a whole one |
| NAME@START/SHAPE | a piece: numbers of a tensor of that shape (such as ``64x64``), flat, from number START on |

The files of rank 0 lie in a folder, those of rank K in its folder ``rank-K``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from ser_core.errors import SpecError


@dataclass(frozen=True, slots=True)
class _Part:
    file: Any
    key: str
    start: int
    shape: tuple[int, ...]
    """Of the whole tensor."""

    @property
    def end(self) -> int:
        return self.start + math.prod(_shape(self.file, self.key))


class SavedTensors(Mapping[str, torch.Tensor]):
    """Whole tensors by name. Each is put together when it is asked for: a process may have no room for all.

    Args:
        parts: Of each tensor, in their order.
    """

    def __init__(self, parts: Mapping[str, Sequence[_Part]]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> torch.Tensor:
        first, *others = self._parts[name]
        found: torch.Tensor = first.file.get_tensor(first.key)
        if others:
            found = torch.cat([found, *(part.file.get_tensor(part.key) for part in others)]).view(first.shape)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def below(self, prefix: str) -> "SavedTensors":
        """Those whose names begin with ``prefix``, by the rest of their names."""
        return SavedTensors({name.removeprefix(prefix): parts for name, parts in self._parts.items() if name.startswith(prefix)})


def key_of(name: str, start: int, count: int, shape: Sequence[int]) -> str:
    """The key of a tensor, or of ``count`` of its numbers."""
    return name if count == math.prod(shape) else f"{name}@{start}/{'x'.join(map(str, shape))}"


def open_saved(folder: Path, file: str) -> SavedTensors:
    """What all processes have saved in their files of that name. Nothing is read yet but the names.

    Raises:
        SpecError: Numbers of a tensor are missing (``CheckpointIncomplete``).
    """
    parts: dict[str, dict[int, _Part]] = {}
    for path in (folder / file, *sorted(folder.glob(f"rank-*/{file}"))):
        opened: Any = safe_open(path, framework="pt")
        for key in opened.keys():  # noqa: SIM118  (it is no mapping)
            name, _, place = key.partition("@")
            start, _, shape = place.partition("/")
            sizes = tuple(map(int, shape.split("x"))) if place else _shape(opened, key)
            parts.setdefault(name, {}).setdefault(int(start or 0), _Part(opened, key, int(start or 0), sizes))
    ordered = {name: [found[start] for start in sorted(found)] for name, found in parts.items()}
    for name, found in ordered.items():
        if [0, *(part.end for part in found)] != [*(part.start for part in found), math.prod(found[0].shape)]:
            raise SpecError(
                f"the checkpoint lacks numbers of {name}",
                reason="CheckpointIncomplete",
                hint="remove the stage's folder checkpoints in the store: it then begins anew",
            )
    return SavedTensors(ordered)


def _shape(file: Any, key: str) -> tuple[int, ...]:
    return tuple(file.get_slice(key).get_shape())
