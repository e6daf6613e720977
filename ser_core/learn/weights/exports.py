"""How models and tokenizers are written."""

import json
from pathlib import Path
from typing import Any

import torch

from ser_core.learn.compute import ranks
from ser_core.learn.compute.pieces import in_pieces
from ser_core.learn.compute.precision import narrow
from ser_core.learn.weights.stored_adapter import write_adapter
from ser_core.learn.weights.written import write_model


def store(network: Any, tokenizer: Any, folder: Path, *, base: Path, products: torch.dtype | None, half: bool) -> None:
    """Write a trained model as it is kept in a store: an adapter as an adapter, all weights as a plain model. All processes call it
    together; rank 0 writes.

    Args:
        network: After its training; without an adapter and with ``half`` it can only be used to compute with afterwards.
        tokenizer: Its tokenizer.
        folder: A new folder.
        base: Folder that the network was loaded from.
        products: Type of the products that it was trained with; None: fp32.
        half: Whether nothing trains on it later, so that it is kept as it is computed (`precision.narrow`).
    """
    if not hasattr(network, "peft_config"):
        export(network, tokenizer, folder, products=products if half else None)
    elif not ranks.rank():
        write_adapter(network, folder, base, products)
        tokenizer.save_pretrained(folder)


def export(network: Any, tokenizer: Any, folder: Path, *, products: torch.dtype | None = None) -> None:
    """Write a plain transformers model and its tokenizer, in safetensors. All processes call it together; rank 0 writes.

    Args:
        network: The network, which has no adapter; in files or in pieces, it is read or gathered weight by weight (`written`).
        tokenizer: Its tokenizer.
        folder: A new folder.
        products: Type of the products that the network is computed with: it is kept as `precision.narrow` says. None: in fp32.
    """
    if in_pieces(network) or any(weight.is_meta for weight in network.parameters()):
        write_model(network, folder, products)
    elif not ranks.rank():
        _export_whole(network, folder, products)
    if not ranks.rank():
        tokenizer.save_pretrained(folder)


def _export_whole(network: Any, folder: Path, products: torch.dtype | None) -> None:
    if products is not None:
        narrow(network, products)
    network.save_pretrained(folder)
    if products is not None:
        _loads_as_fp32(folder / "config.json")


def _loads_as_fp32(path: Path) -> None:
    """Let transformers load an export of several types without rounding what is not bf16."""
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
