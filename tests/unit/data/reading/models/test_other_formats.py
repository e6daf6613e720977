"""What stands in place of a model is recognised by its files' names, and has a hint of its own."""

import pytest

from ser_core.data.reading.models.other_formats import recognise


@pytest.mark.parametrize(
    ("names", "what", "hint"),
    [
        (["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"], "a LoRA adapter without its base", "merge_and_unload"),
        (["config.json", "adapter_config.json", "adapter_model.bin"], "a LoRA adapter without its base", "merge_and_unload"),
        (["README.md", "sft/config.json", "sft/model.safetensors", "dpo/config.json"], "models in its subfolders dpo, sft", "subfolder"),
        (["trainer_state.json", "checkpoint-500/config.json"], "models in its subfolders checkpoint-500", "subfolder"),
        (
            ["config.json", "consolidated.safetensors", "params.json"],
            "Mistral's own format (consolidated.safetensors)",
            "model.safetensors",
        ),
        (["consolidated.00.pth", "params.json"], "Meta's own format", "for transformers"),
        (["model-q4.gguf", "README.md"], "only GGUF (model-q4.gguf)", "original model"),
        (["model-q4.gguf"], "only GGUF (model-q4.gguf)", "original model"),
        (["model.safetensors"], "one file alone, model.safetensors", "name the folder"),
        (["config.json", "zero_to_fp32.py", "global_step9/mp_rank_00_model_states.pt"], "a DeepSpeed checkpoint", "zero_to_fp32.py"),
        (["config.json", "__0_0.distcp"], "a distributed checkpoint of PyTorch", "merge"),
        (["config.json", "pytorch_model.bin"], "only pytorch_model.bin, and pickled weights are never loaded", "save_pretrained"),
        (["config.json", "model.onnx"], "only weights of another framework (model.onnx)", "safetensors"),
        (["config.json", "pytorch_lora.safetensors"], "neither model.safetensors nor", "rename"),
        (["config.json", "tokenizer.json"], "no weights", "copy the model again"),
        (["model.safetensors", "tokenizer.json"], "weights but no config.json", "copy config.json"),
        (["model.safetensors.index.json", "model-1.safetensors"], "weights but no config.json", "copy config.json"),
        (["README.md"], "one file alone, README.md", "name the folder"),
        (["README.md", "LICENSE"], "no config.json", "name the folder"),
    ],
)
def test_what_is_no_model_is_named_with_what_to_do(names, what, hint):
    found = recognise(names)
    assert what in found.what
    assert hint in found.hint
