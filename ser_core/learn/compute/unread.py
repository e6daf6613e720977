"""Weights that are still in their files. Each is read when it is needed, so that a process never holds all of them.

transformers makes a network of them as of any others (`InFile` takes a tensor's place), with its matrices on the meta device. Every such
weight knows where its numbers come from; `numbers` reads them, and what is to be done to them, such as adding an adapter, waits until then.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

Source = Callable[[], torch.Tensor]
"""Gives a weight's numbers, in fp32. They may lie in the mapped file, so they are not to be changed."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


_TOGETHER = frozenset({torch.ops.aten.stack.default, torch.ops.aten.cat.default})
"""How transformers makes one weight of several tensors, as of those of all experts of a layer."""


class InFile:
    """A tensor of a safetensors file. To transformers it is a part of that file: something to take all of, on a device and in a type.

    Args:
        path: The file.
        key: The tensor's name there.
        shape: Its shape.
    """

    def __init__(self, path: Path, key: str, shape: Sequence[int]) -> None:
        self.key = key
        self.stand_in: torch.Tensor | None = None
        """What transformers got in its place."""
        self._path, self._shape = path, tuple(shape)

    def __getitem__(self, _: Any) -> "InFile":
        return self

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor of that shape without numbers; what is no matrix is small, and read at once."""
        if len(self._shape) < 2 or dtype is not torch.float32:
            return self._read().to(device=device, dtype=dtype)
        self.stand_in = torch.empty(self._shape, dtype=dtype, device="meta")
        return self.stand_in

    def numbers(self) -> torch.Tensor:
        """As `Source`."""
        return self._read().to(torch.float32)

    def _read(self) -> torch.Tensor:
        with safe_open(self._path, framework="pt") as file:
            found: torch.Tensor = file.get_tensor(self.key)
        return found


def tensors_in(folder: Path) -> dict[str, InFile]:
    """Those of a model's files, by name; none where the files have other names than transformers gives them, or are no safetensors."""
    names = [_WEIGHTS]
    if not (folder / _WEIGHTS).is_file():
        index = folder / _INDEX
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())) if index.is_file() else []
        if not all(Path(name).name == name and name.endswith(".safetensors") for name in names):
            return {}  # transformers says what is wrong with it
    found: dict[str, InFile] = {}
    for name in names:
        with safe_open(folder / name, framework="pt") as file:
            found |= {key: InFile(folder / name, key, file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118  (no mapping)
    return found


class PutTogether(TorchDispatchMode):
    """Remembers what transformers puts together while it makes a network of tensors without numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[torch.Tensor, Sequence[torch.Tensor], Callable[[Sequence[torch.Tensor]], torch.Tensor]]] = []
        """Each with its parts, and what makes it of them."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """As torch calls it for every operation."""
        found = function(*arguments, **(options or {}))
        if function in _TOGETHER and found.is_meta:
            parts, *rest = arguments
            self.made.append((found, parts, lambda parts: function(parts, *rest, **(options or {}))))
        return found


def take_sources(
    network: nn.Module, tensors: Sequence[InFile], together: PutTogether, checked: Callable[[str, torch.Tensor], torch.Tensor]
) -> bool:
    """Let every weight without numbers know its source.

    Args:
        network: What transformers has made of the tensors.
        tensors: They.
        together: What it has put together.
        checked: Given name and numbers of a weight when it is read; returns the numbers.

    Returns:
        Whether each has one: not where transformers changes tensors.
    """
    known: dict[int, tuple[torch.Tensor, Source]] = {}

    def source(tensor: torch.Tensor) -> Source | None:
        whole, found = known.get(tensor.untyped_storage()._cdata, (None, None))
        return found if whole is not None and (tensor.shape, tensor.stride()) == (whole.shape, whole.stride()) else None

    for one in tensors:
        if one.stand_in is not None:
            known[one.stand_in.untyped_storage()._cdata] = one.stand_in, partial(_checked, one, checked)
    for made, parts, make in together.made:
        sources = [found for found in map(source, parts) if found is not None]
        if len(sources) == len(parts):
            known[made.untyped_storage()._cdata] = made, partial(_made, make, sources)
    for weight in filter(is_meta, network.parameters()):
        found = source(weight)
        if found is None:
            return False
        give(weight, found)
    return not any(map(is_meta, network.buffers()))


def is_meta(tensor: torch.Tensor) -> bool:
    """Whether it has no numbers."""
    return tensor.is_meta


def give(weight: nn.Parameter, source: Source) -> None:
    """Name the source of a weight that has no numbers."""
    weight.source = source  # type: ignore[attr-defined]


def source_of(weight: nn.Parameter) -> Source | None:
    """Where the numbers of a weight come from; None: it has them, or another process has them."""
    found: Source | None = getattr(weight, "source", None) if weight.is_meta else None
    return found


def release(weight: nn.Parameter) -> None:
    """Forget the source of a weight that has been read."""
    vars(weight).pop("source", None)


def add(weight: nn.Parameter, difference: Source) -> None:
    """Add to a weight, now or when it is read."""
    source = source_of(weight)
    if source is None:
        weight.add_(difference())
    else:
        give(weight, lambda: source() + difference())


def overwrite(weight: nn.Parameter, numbers: Source) -> None:
    """Give a weight other numbers, now or when it is read."""
    if weight.is_meta:
        give(weight, numbers)
    else:
        weight.data.copy_(numbers())


def unread(weights: Iterator[nn.Parameter]) -> dict[int, nn.Parameter]:
    """What takes the place of those that are in files, with their numbers, by their ``id``."""
    found = {id(weight): (weight, source_of(weight)) for weight in weights}
    return {key: nn.Parameter(source().clone(), weight.requires_grad) for key, (weight, source) in found.items() if source is not None}


def _made(make: Callable[[Sequence[torch.Tensor]], torch.Tensor], parts: Sequence[Source]) -> torch.Tensor:
    return make([part() for part in parts])


def _checked(tensor: InFile, checked: Callable[[str, torch.Tensor], torch.Tensor]) -> torch.Tensor:
    return checked(tensor.key, tensor.numbers())
