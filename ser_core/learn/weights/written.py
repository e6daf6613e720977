"""A model of which no process holds all weights, written as transformers does: one file after the other, weight by weight.

Its weights are in files still (`unread`), in pieces (`pieces`), or whole.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers.core_model_loading import revert_weight_conversion

from ser_core.learn.compute import ranks
from ser_core.learn.compute.parts import has_experts
from ser_core.learn.compute.pieces import cut_weights
from ser_core.learn.compute.precision import multiplied_in, narrowed
from ser_core.learn.compute.unread import source_of
from ser_core.memory.host import LARGEST_FILE


def write_model(network: Any, folder: Path, products: torch.dtype | None, *, largest: int = LARGEST_FILE) -> None:
    """Write configuration and weights of a plain network. All processes call it; rank 0 writes.

    Args:
        network: Of transformers, without an adapter.
        folder: A new folder.
        products: Type of the products that it is computed with, and kept in as `precision.narrow` says; None: in fp32.
        largest: Bytes of a file, if no weight has more: so much of the model is in main memory.
    """
    writer, multiplied = _Files(folder, largest), multiplied_in(network)
    # Kinds without experts may have one tensor in files of several weights, which would have to be there together.
    mixture = has_experts(network)
    for name, weight, numbers in _weights(network):
        if ranks.rank():
            continue
        as_kept = numbers if products is None else narrowed(numbers, products, multiplied=id(weight) in multiplied)
        for in_file, part in _as_in_files(network, name, as_kept).items() if mixture else [(name, as_kept)]:
            writer.add(in_file, part)
    if ranks.rank():
        return
    writer.finish()
    network.config.architectures = [type(network).__name__]
    network.config.dtype = "float32"  # one type for all of them: transformers would round what is not bf16
    network.config.save_pretrained(folder)
    if network.can_generate():
        network.generation_config.save_pretrained(folder)


def _weights(network: Any) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Name of each that has numbers of its own, itself, and its numbers."""
    cut, seen = cut_weights(network), set()
    for name, weight in network.state_dict(keep_vars=True).items():
        if id(weight) in seen:
            continue
        seen.add(id(weight))
        source = source_of(weight)
        yield name, weight, cut[name].whole() if name in cut else weight.detach() if source is None else source()


def _as_in_files(network: Any, name: str, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
    """What transformers makes of a weight in files: of those of all experts, the tensors of each, by names that other programs know too."""
    found: dict[str, torch.Tensor] = revert_weight_conversion(network, {name: numbers})
    return found


class _Files:
    """Files of weights; each is written when it is full."""

    def __init__(self, folder: Path, largest: int) -> None:
        self._folder, self._largest = folder, largest
        self._open: dict[str, torch.Tensor] = {}
        self._names: list[list[str]] = []
        self._size = 0

    def add(self, name: str, numbers: torch.Tensor) -> None:
        if self._open and _bytes(*self._open.values(), numbers) > self._largest:
            self._write()
        self._open[name] = numbers.to("cpu", copy=True).contiguous()

    def finish(self) -> None:
        """Give the files the names that transformers reads them by."""
        self._write()
        count = len(self._names)
        if count == 1:
            self._part(1).rename(self._folder / "model.safetensors")
            return
        files = {number: f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)}
        for number, file in files.items():
            self._part(number).rename(self._folder / file)
        places = {name: files[number] for number, names in enumerate(self._names, 1) for name in names}
        index = {"metadata": {"total_size": self._size}, "weight_map": dict(sorted(places.items()))}
        (self._folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _write(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._names.append(list(self._open))
        self._size += _bytes(*self._open.values())
        save_file(self._open, self._part(len(self._names)), metadata={"format": "pt"})
        self._open = {}

    def _part(self, number: int) -> Path:
        return self._folder / f"part-{number}"


def _bytes(*tensors: torch.Tensor) -> int:
    return sum(tensor.nbytes for tensor in tensors)
