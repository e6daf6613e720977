import dataclasses
import json

import pytest

from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.data.reading.locations import LocalFolder
from ser_core.data.reading.models import base_model, refusals
from ser_core.data.reading.models.base_model import check_base_model
from ser_core.data.reading.models.positions import longest_input
from ser_core.errors import SpecError

BERT = {"model_type": "bert", "max_position_embeddings": 512}
WHOLE = {"config.json": BERT, "tokenizer.json": {}, "model.safetensors": {}}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.fixture
def check(tmp_path, access):
    def of(files, max_length=512):
        folder = tmp_path / "base"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return check_base_model(RewardModelSpec(base=f"file://{folder}", max_length=max_length), access, tmp_path / "copy")

    return of


def without(*names):
    return {name: content for name, content in WHOLE.items() if name not in names}


def test_only_the_needed_files_are_chosen(check):
    extra = {"pytorch_model.bin": {}, "README.md": {}, "training_args.bin": {}, "vocab.txt": {}, "tokenizer_config.json": {}}
    assert set(check({**WHOLE, **extra}).files) == {*WHOLE, "vocab.txt", "tokenizer_config.json"}


def test_the_shards_are_those_of_the_index(check):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {**without("model.safetensors"), "model.safetensors.index.json": index, "model-1.safetensors": {}, "model-2.safetensors": {}}
    chosen = check({**files, "consolidated.safetensors": {}}).files
    assert {name for name in chosen if "safetensors" in name} == {
        "model.safetensors.index.json",
        "model-1.safetensors",
        "model-2.safetensors",
    }


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (without("config.json"), "ModelNotFound"),
        ({**WHOLE, "config.json": {"hidden_size": 3}}, "BadModelConfig"),
        ({**WHOLE, "config.json": [1]}, "BadModelConfig"),
        ({**WHOLE, "config.json": "[" * 100_000}, "BadModelConfig"),
        ({**WHOLE, "config.json": POINTER}, "BadModelConfig"),
        ({**WHOLE, "tokenizer.json": POINTER}, "BadModelConfig"),
        ({**WHOLE, "config.json": {**BERT, "auto_map": {"AutoModel": "code.Model"}}}, "RemoteCode"),
        ({**WHOLE, "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["code.T", None]}}}, "RemoteCode"),
        ({**WHOLE, "config.json": {**BERT, "attn_implementation": "kernels-community/flash-attn"}}, "RemoteCode"),
        ({**WHOLE, "config.json": {**BERT, "_attn_implementation": {"": "sdpa", "text_config": "some/kernel@main"}}}, "RemoteCode"),
        ({**WHOLE, "config.json": {**BERT, "text_config": {"experts_implementation": "flash_attention_3"}}}, "RemoteCode"),
        (without("tokenizer.json"), "NoTokenizer"),
        ({**without("tokenizer.json"), "vocab.json": {}}, "NoTokenizer"),
        (without("model.safetensors"), "NoSafetensors"),
        ({**without("model.safetensors"), "pytorch_model.bin": {}}, "NoSafetensors"),
        ({**without("model.safetensors"), "model.safetensors.index.json": {"weight_map": {"a": "gone.safetensors"}}}, "MissingShard"),
        ({**WHOLE, "model.safetensors.index.json": {"metadata": {}, "weight_map": None}}, "MissingShard"),
        ({**WHOLE, "model.safetensors.index.json": {"weight_map": {"a": 1}}}, "MissingShard"),
        ({**WHOLE, "a.bin": {}, "model.safetensors.index.json": {"weight_map": {"a": "a.bin"}}}, "NoSafetensors"),
        ({**WHOLE, "config.json": {**BERT, "quantization_config": {"quant_method": "gptq"}}}, "ModelNotSupported"),
        ({**WHOLE, "config.json": {**BERT, "text_config": {"quantization_config": {"quant_method": "fp8"}}}}, "ModelNotSupported"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(check, files, reason):
    with pytest.raises(SpecError) as caught:
        check(files)
    assert (caught.value.reason, bool(caught.value.hint)) == (reason, True)
    assert caught.value.message.startswith("rewardModel.base")


def test_a_model_that_names_code_and_may_need_none_is_told_how_to_go_without(check):
    with pytest.raises(SpecError) as caught:
        check({**WHOLE, "config.json": {**BERT, "auto_map": {"AutoModel": "code.Model"}}})
    assert "a copy without auto_map" in caught.value.hint


def test_a_pointer_in_place_of_a_tokenizer_is_called_one(check):
    with pytest.raises(SpecError, match=r"tokenizer\.json of .* is a Git LFS pointer") as caught:
        check({**WHOLE, "tokenizer.json": POINTER})
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "added_tokens.json", "tokenizer.json", "model.safetensors.index.json"]
)
def test_a_settings_file_that_would_take_all_memory_is_refused_before_it_is_read(check, name, monkeypatch):
    monkeypatch.setattr(refusals, "_MOST_BYTES", 100)
    monkeypatch.setattr(LocalFolder, "fetch", lambda *_: pytest.fail("it was read"))
    with pytest.raises(SpecError, match=f"{name} of file://.* has 0 MB, and more than 0 are not read") as caught:
        check({**WHOLE, name: {"id2label": dict.fromkeys(range(100))}})
    assert caught.value.reason == "BadModelConfig"


def test_a_file_whose_size_nobody_has_told_is_looked_at_once_it_is_here(check, monkeypatch):
    monkeypatch.setattr(refusals, "_MOST_BYTES", 100)
    told = base_model.locate
    monkeypatch.setattr(base_model, "locate", lambda *of: dataclasses.replace(found := told(*of), sizes=dict.fromkeys(found.sizes)))
    with pytest.raises(SpecError, match=r"config\.json of file://.* has 0 MB"):
        check({**WHOLE, "config.json": {"id2label": dict.fromkeys(range(100))}})


def test_a_stray_index_beside_whole_weights_may_be_removed(check):
    index = {"weight_map": {"a": "gone.safetensors"}}
    with pytest.raises(SpecError) as caught:
        check({**WHOLE, "model.safetensors.index.json": index})
    assert caught.value.hint == "copy the model again, or remove the index, if all weights stand in model.safetensors"


def test_of_whole_weights_and_shards_those_are_read_that_transformers_reads(check):
    index = {"weight_map": {"a": "model-1.safetensors"}}
    chosen = check({**WHOLE, "model.safetensors.index.json": index, "model-1.safetensors": {}}).files
    assert [name for name in chosen if "safetensors" in name] == ["model.safetensors"]


def test_a_missing_folder_is_refused(access, tmp_path):
    with pytest.raises(SpecError) as caught:
        check_base_model(RewardModelSpec(base=f"file://{tmp_path}/nothing"), access, tmp_path / "copy")
    assert caught.value.reason == "ModelNotFound"


def test_a_max_length_beyond_the_positions_is_refused_with_both_values(check):
    with pytest.raises(SpecError, match=r"maxLength 513 is more than the 512 tokens") as caught:
        check(WHOLE, 513)
    assert caught.value.reason == "MaxLengthTooLarge"


@pytest.mark.parametrize(
    ("config", "longest"),
    [
        (BERT, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, 512),
        ({"model_type": "gpt2", "n_positions": 1024}, 1024),
        ({"model_type": "mpt", "max_seq_len": 2048}, 2048),
        ({"model_type": "t5"}, None),
        ({"model_type": "gemma3", "text_config": {"max_position_embeddings": 1024}, "vision_config": {}}, 1024),
        ({"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}, None),
    ],
)
def test_positions_are_counted_as_the_model_does(config, longest):
    assert longest_input(config) == longest


def test_an_implementation_of_transformers_itself_may_be_named(check):
    assert check({**WHOLE, "config.json": {**BERT, "_attn_implementation": None, "attn_implementation": "sdpa"}}).model_type == "bert"


def test_a_configuration_that_says_nothing_of_quantisation_is_none(check):
    assert check({**WHOLE, "config.json": {**BERT, "quantization_config": None}}).model_type == "bert"
