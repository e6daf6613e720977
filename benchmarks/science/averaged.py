"""One reward model from the adapters of the fold models: what would be if no model were trained on all labels at once."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ser_core.store.stages.model_folder import ADAPTER_WEIGHTS


def average(folders: Sequence[Path], target: Path) -> Path:
    """Write the mean of stored adapters, head included, each number on its own; they lie on one base and began as one.

    Args:
        folders: The adapters.
        target: A new folder.
    """
    shutil.copytree(folders[0], target)
    adapters = [load_file(folder / ADAPTER_WEIGHTS) for folder in folders]
    means = {name: torch.stack([adapter[name] for adapter in adapters]).mean(0) for name in adapters[0]}
    save_file(means, target / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    return target
