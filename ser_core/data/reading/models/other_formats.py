"""What people name in place of a transformers model in safetensors: recognised by the names of the files, each with its own remedy."""

from collections.abc import Collection
from typing import NamedTuple

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_CONVERT = "convert it: load it with transformers where you trust it; save_pretrained writes safetensors"


class Recognised(NamedTuple):
    """What stands there, and what to do."""

    what: str
    hint: str


def recognise(names: Collection[str]) -> Recognised:
    """What files without a transformers model's own (`config.json`, weights in safetensors) are.

    Args:
        names: Of all files, relative to the model's URI.
    """
    for found in (_adapter(names), _one_file(names), _subfolder(names), _training_state(names)):
        if found is not None:
            return found
    if "config.json" not in names and (WEIGHTS in names or INDEX in names):
        return Recognised(
            "weights but no config.json", "copy config.json from where the model is; save_pretrained writes it beside the weights"
        )
    if (found := _weights_of_others(names)) is not None:
        return found
    if "config.json" in names:
        return Recognised("no weights", f"copy the model again, with {WEIGHTS} or {INDEX} and its shards")
    return Recognised("no config.json", "name the folder of a transformers model")


def _adapter(names: Collection[str]) -> Recognised | None:
    if not any(name in names for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")):
        return None
    merge = "merge it into its base (peft: merge_and_unload, then save_pretrained) and name the result"
    return Recognised("a LoRA adapter without its base", f"{merge}; for the base alone name the base")


def _one_file(names: Collection[str]) -> Recognised | None:
    if len(names) == 1 and "config.json" not in names and not any("/" in name for name in names):
        (name,) = names
        if not name.lower().endswith(".gguf"):
            return Recognised(f"one file alone, {name}", "name the folder that holds config.json, tokenizer and weights")
    return None


def _subfolder(names: Collection[str]) -> Recognised | None:
    if "config.json" in names:
        return None
    folders = sorted(name.removesuffix("/config.json") for name in names if name.endswith("/config.json"))
    if not folders:
        return None
    where = ", ".join(folders[:3]) + (f" and {len(folders) - 3} more" if len(folders) > 3 else "")
    return Recognised(
        f"no config.json of its own, but models in its subfolders {where}",
        "add the subfolder to a file:// or s3:// URI; download one of a hub repository first, then name that copy",
    )


def _training_state(names: Collection[str]) -> Recognised | None:
    if "zero_to_fp32.py" in names or any("_optim_states.pt" in name or "_model_states.pt" in name for name in names):
        return Recognised("a DeepSpeed checkpoint", "run its zero_to_fp32.py with --safe_serialization, and name the folder that it writes")
    if any(name.endswith(".distcp") for name in names):
        return Recognised("a distributed checkpoint of PyTorch (FSDP)", "merge it with accelerate merge-weights, and name the result")
    return None


def _weights_of_others(names: Collection[str]) -> Recognised | None:
    forms = (
        (
            lambda name: name.startswith("consolidated.") and name.endswith(".safetensors"),
            "weights in Mistral's own format ({})",
            f"name a repository of the same model that also holds {WEIGHTS} or {INDEX}, or convert it with transformers' own script",
        ),
        (
            lambda name: name.startswith("consolidated.") and name.endswith(".pth"),
            "weights in Meta's own format ({})",
            "name the repository of the same model for transformers",
        ),
        (
            lambda name: name.lower().endswith(".gguf"),
            "only GGUF ({})",
            "name the original model in safetensors: GGUF holds rounded weights for inference",
        ),
        (_is_pickle, "only {}, and pickled weights are never loaded", _CONVERT),
        (
            lambda name: name.endswith((".onnx", ".h5", ".msgpack", ".npz", ".tflite")),
            "only weights of another framework ({})",
            "name the same model in safetensors",
        ),
        (
            lambda name: name.endswith(".safetensors"),
            f"neither {WEIGHTS} nor {INDEX}, but {{}}",
            f"rename one whole file to {WEIGHTS}; shards need their index",
        ),
    )
    for is_it, what, hint in forms:
        if found := sorted(filter(is_it, names)):
            return Recognised(what.format(", ".join(found[:3])), hint)
    return None


def _is_pickle(name: str) -> bool:
    return name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".bin.index.json")) and not name.startswith("training_args")
