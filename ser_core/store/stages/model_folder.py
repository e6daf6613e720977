"""How a trained model lies in a folder: a plain model of transformers, or an adapter with the base that it lies on in `BASE`.

In a store `BASE` is no copy: the manifest names the files of the stage that made them, with their digests. So the stage key of whatever
reads an adapter counts its base, and the back-reference of a run that takes it over reaches the run that keeps the base.
"""

from pathlib import Path

MODEL = "model"
"""Name of the folder in a stage's outputs."""
FOLDS = "folds"
"""Folder of the fold models of a cross-fitted reward model, each in a folder with the fold's number."""
BASE = "base"
"""In the folder of an adapter: what it lies on, a plain model or again an adapter."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""Files of an adapter, as peft names them."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder has an adapter in place of a plain model. A base from elsewhere may have an old adapter's configuration in it."""
    return (folder / ADAPTER_CONFIG).is_file() and (folder / BASE).is_dir()


def root(folder: Path) -> Path:
    """Folder of the plain model at the bottom: ``folder`` itself, or what its adapters lie on."""
    while is_adapter(folder):
        folder = folder / BASE
    return folder
