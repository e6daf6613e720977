"""How models and tokenizers are read and written."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import AutoTokenizer

from ser_core.errors import SpecError

FROM_THE_FOLDER_ALONE: Mapping[str, bool] = MappingProxyType({"local_files_only": True, "trust_remote_code": False})
"""Options of every ``from_pretrained``: no hub, and none of a model's own code. Without a plain no transformers asks on a terminal."""


def load_network(kind: Any, folder: Path, field: str, **options: Any) -> tuple[Any, Any]:
    """An fp32 network and its tokenizer.

    Args:
        kind: An auto class of transformers.
        folder: Where they are.
        field: Of the specification, for messages.
        options: Of ``from_pretrained``.

    Raises:
        SpecError: ``kind`` cannot make a network of it.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **FROM_THE_FOLDER_ALONE)
        network = kind.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **FROM_THE_FOLDER_ALONE, **options)
    except (OSError, ValueError, KeyError) as error:
        raise SpecError(
            f"{field}: {kind.__name__} cannot load it: {str(error).splitlines()[0]}",
            reason="ModelNotSupported",
            hint=f"name a model with safetensors weights that {kind.__name__} supports",
        ) from error
    return network, tokenizer


def export(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write a plain transformers model and its tokenizer, adapter merged, in safetensors. Ends the training of an adapter."""
    network = network.merge_and_unload() if hasattr(network, "merge_and_unload") else network
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
