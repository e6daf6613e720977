"""Copies of a whole model, each changed as some tool or accident leaves it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    weights = change(load_file(folder / WEIGHTS))
    save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})


def prefixed(prefix: str) -> Callable[[Path], None]:
    def put_before_every_name(folder: Path) -> None:
        change_weights(folder, lambda weights: {prefix + name: tensor for name, tensor in weights.items()})

    return put_before_every_name


def value_head(folder: Path) -> None:
    prefixed("pretrained_model.")(folder)
    change_weights(folder, lambda weights: {**weights, "v_head.summary.weight": torch.zeros(1, 36)})


def empty_tensors(folder: Path) -> None:
    change_weights(folder, lambda weights: {name: torch.zeros(0) if "layers.1." in name else one for name, one in weights.items()})


def missing_layer(folder: Path) -> None:
    change_weights(folder, lambda weights: {name: one for name, one in weights.items() if "layers.1." not in name})


def no_tensor(folder: Path) -> None:
    change_weights(folder, lambda weights: {})


def cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) * 2 // 3])


def lengthened(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"\0" * 64)


def pointer(folder: Path) -> None:
    (folder / WEIGHTS).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'b' * 64}\nsize 1234567\n")


def empty_file(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def pickled_shards(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model-00001-of-00001.bin")
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}')


def index_without_map(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": null}')


def quantised(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})


def quantised_numbers(folder: Path) -> None:
    change_weights(folder, lambda weights: {name: one.to(torch.int8) if "proj.weight" in name else one for name, one in weights.items()})


def other_width(folder: Path) -> None:
    change_config(folder, hidden_size=72, num_attention_heads=6)


def odd_size(folder: Path) -> None:
    change_config(folder, num_attention_heads=-1)


def unmerged_adapter(folder: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    change_weights(folder, lambda weights: {**weights, name: torch.zeros(4, 36)})


def bias_that_the_config_switches_off(folder: Path) -> None:
    change_weights(folder, lambda weights: {**weights, "model.layers.0.mlp.up_proj.bias": torch.zeros(72)})


def norms_that_this_kind_does_not_have(folder: Path) -> None:
    change_weights(folder, lambda weights: {**weights, "model.layers.0.self_attn.q_norm.weight": torch.ones(18)})


def marked(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + (folder / "config.json").read_bytes())


UNFIT = {
    prefixed("_orig_mod."): ("ModelNotSupported", r"_orig_mod\.model.* as torch\.compile names them"),
    prefixed("module."): ("ModelNotSupported", "as DistributedDataParallel names them"),
    prefixed("base_model.model."): ("ModelNotSupported", "as peft names them"),
    value_head: ("ModelNotSupported", "as TRL's value head names them"),
    empty_tensors: ("ModelNotSupported", r"is \[0\] in its weights and \[36\] by its config\.json"),
    missing_layer: ("ModelNotSupported", r"12 of the \d+ tensors of this qwen2 are not in its weights: model\.layers\.1\."),
    other_width: ("ModelNotSupported", r"embed_tokens\.weight is \[257, 36\] in its weights and \[257, 72\] by its config\.json"),
    unmerged_adapter: ("ModelNotSupported", "a LoRA adapter that is not merged"),
    bias_that_the_config_switches_off: ("ModelNotSupported", r"does not use: model\.layers\.0\.mlp\.up_proj\.bias"),
    norms_that_this_kind_does_not_have: ("ModelNotSupported", r"does not use: model\.layers\.0\.self_attn\.q_norm\.weight"),
    marked: ("BadModelConfig", "begins with a byte order mark"),
    no_tensor: ("BadWeights", "there is no tensor in it"),
    cut: ("BadWeights", "it is cut off: it has"),
    lengthened: ("BadWeights", "bytes, and its header tells of"),
    pointer: ("BadWeights", "a Git LFS pointer"),
    empty_file: ("BadWeights", "it is empty"),
    pickled_shards: ("NoSafetensors", r"names pytorch_model-00001-of-00001\.bin, and only safetensors are loaded"),
    index_without_map: ("MissingShard", "weight_map of .* names no file"),
    odd_size: ("BadModelConfig", "num_attention_heads is -1, expected a number above zero"),
    quantised: ("ModelNotSupported", "is quantised: config.json says bitsandbytes"),
    quantised_numbers: ("ModelNotSupported", "is quantised: model.* holds I8"),
}
"""What was done to the model; reason and message of the refusal."""


def copy_of(model: Path, folder: Path) -> Path:
    return Path(shutil.copytree(model, folder / "changed"))
