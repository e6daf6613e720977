"""A trained adapter as it is stored: what the training has added to a base, and the base beside it.

| in the folder | what |
|---|---|
| ``adapter_model.safetensors`` | the adapter, the trained head, and what else the base's files lack; names and format of peft |
| ``adapter_config.json`` | rank, scale and layers, as peft reads them |
| ``tokenizer.json`` … | the tokenizer, which can have a padding token more than the base's |
| ``base/`` | the base: a plain model, or again a stored adapter |
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

from ser_core.errors import SpecError
from ser_core.learn.compute.parts import without_adapter
from ser_core.learn.compute.unread import add, overwrite
from ser_core.store.stages.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, BASE, is_adapter

_PREFIX = "base_model.model."
"""What peft puts before the names of a network's parts."""
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def write_adapter(network: Any, folder: Path, base: Path, products: torch.dtype | None) -> None:
    """Write an adapter and everything that its base's files lack; ``base`` in the folder then leads to the base.

    Args:
        network: A `PeftModel` with one LoRA adapter. It is not changed.
        folder: A new folder.
        base: Folder that the network was loaded from.
        products: Type of the products that it was trained with; None: fp32. An export needs it.
    """
    folder.mkdir(parents=True)
    (folder / BASE).symlink_to(base.resolve(), target_is_directory=True)
    tensors = {name: weight.detach().to("cpu").contiguous() for name, weight in _own(network).items()}
    # One entry: safetensors writes several in any order, and equal adapters would have other bytes.
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"products": str(products or torch.float32).removeprefix("torch.")})
    settings = network.peft_config["default"]
    config = {
        "base_model_name_or_path": BASE,
        "bias": "none",
        "fan_in_fan_out": settings.fan_in_fan_out,
        "inference_mode": True,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": 0.0,
        "modules_to_save": sorted(set(settings.modules_to_save or ())) or None,
        "peft_type": "LORA",
        "r": settings.r,
        "target_modules": sorted(settings.target_modules),
        "task_type": str(getattr(settings.task_type, "value", settings.task_type)),
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def products_of(folder: Path) -> torch.dtype | None:
    """Type of the products that a stored adapter was trained with; None: fp32."""
    with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
        found = (file.metadata() or {}).get("products", "float32")
    return None if found == "float32" else getattr(torch, found)


def merge(network: Any, folder: Path) -> None:
    """Add a stored adapter to the fp32 weights of the network that it lies on; to those that are in files, when they are read.

    Raises:
        SpecError: The network has other parts (``ModelNotSupported``).
    """
    config, tensors = _settings(folder), load_file(folder / ADAPTER_WEIGHTS)
    try:
        with torch.no_grad():
            for name, tensor in tensors.items():
                part = name.removeprefix(_PREFIX)
                if name.endswith(_DOWN):
                    up = tensors[name.removesuffix(_DOWN) + _UP]
                    layer = network.get_submodule(part.removesuffix(_DOWN))
                    add(layer.weight, partial(_difference, layer, up, tensor, config["lora_alpha"] / config["r"]))
                elif not name.endswith(_UP):
                    overwrite(network.get_parameter(part), tensor.clone)
    except AttributeError as error:
        raise SpecError(
            f"the adapter in {folder} does not lie on a {type(network).__name__}: {error}",
            reason="ModelNotSupported",
            hint="name a base of the kind that the adapter was trained on",
        ) from error


def fits_into(folder: Path, rank: int) -> bool:
    """Whether a stored adapter lies on a plain model, and has at most ``rank``: then a new adapter of this rank can go on from it."""
    return is_adapter(folder) and not is_adapter(folder / BASE) and _settings(folder)["r"] <= rank


def go_on_from(network: Any, folder: Path) -> None:
    """Give a new adapter of a network what a stored one has learnt (`fits_into`), so that both compute the same.

    Args:
        network: A `PeftModel` around the stored adapter's base, whose adapter was not trained yet.
        folder: Of the stored adapter.
    """
    config, tensors = _settings(folder), load_file(folder / ADAPTER_WEIGHTS)
    rank = config["r"]
    with torch.no_grad():
        for name, tensor in tensors.items():
            part = network.get_submodule(name.rpartition(".lora_")[0]) if ".lora_" in name else None
            if part is None:
                _place(network, name).copy_(tensor)
            elif name.endswith(_DOWN):
                part.lora_A["default"].weight[:rank] = tensor
            else:
                part.lora_B["default"].weight[:, :rank] = tensor * (config["lora_alpha"] / rank / part.scaling["default"])


def _place(network: Any, name: str) -> torch.Tensor:
    """The weight of a `PeftModel` that a name in a file means: of the trained head, or of a layer below an adapter."""
    part, _, kind = name.rpartition(".")
    module = network.get_submodule(part)
    module = getattr(module, "modules_to_save", {"default": module})["default"]
    found: torch.Tensor = getattr(getattr(module, "base_layer", module), kind)
    return found


def _settings(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    return found


def _difference(layer: Any, up: torch.Tensor, down: torch.Tensor, scale: float) -> torch.Tensor:
    difference = up @ down * scale
    return difference.T if isinstance(layer, Conv1D) else difference


def _own(network: Any) -> dict[str, torch.Tensor]:
    """What the files of the base do not have, by peft's names in files."""
    found = {}
    for name, weight in network.named_parameters():
        if ".lora_" in name:
            found[name.replace(".default.", ".")] = weight
        elif ".modules_to_save.default." in name:
            found[name.replace(".modules_to_save.default.", ".")] = weight
    plain = without_adapter(network)
    lacking = {f"{_PREFIX}{name}" for name in plain.lacking} - found.keys()
    weights = {f"{_PREFIX}{name.replace('.base_layer.', '.')}": weight for name, weight in plain.named_parameters()}
    return found | {name: weight for name, weight in weights.items() if name in lacking}
