import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from plain_models import write_plain
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DebertaV2Config,
    DebertaV2Model,
    MptConfig,
    MptForCausalLM,
    pipeline,
)

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import RewardModel, load
from ser_core.learn.text.reference_text import Form
from ser_core.report.model_card import usage_of

PROMPTS = ["w1 w2 w3", "w4", "w5 w6"]
ANSWERS = ["w7", "w8 w9 w10 w11", "w12 w13"]


def scores(model: RewardModel) -> torch.Tensor:
    with torch.no_grad():
        return model.score(pad(model.encoder.rows(PROMPTS, ANSWERS), model.tokenizer.pad_token_id))


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def moved(model: RewardModel) -> RewardModel:
    """A model whose trainable weights have all changed, as training would."""
    torch.manual_seed(7)
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def test_the_seed_alone_fixes_a_new_head(base: Path, fp32: Precision):
    first, again, other = (scores(load(base, fp32, max_length=48, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=2, alpha=4)])
def test_the_export_scores_the_same_when_loaded_again_and_in_plain_transformers(base: Path, fp32: Precision, tmp_path: Path, adapter):
    model = moved(load(base, fp32, max_length=48, adapter=adapter))
    expected = scores(model)
    write_plain(model, tmp_path)
    torch.testing.assert_close(scores(load(tmp_path, fp32, max_length=48)), expected, rtol=0, atol=1e-5)

    network = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    if tokenizer.cls_token_id is None:
        texts = [f"Question: {prompt}\n\nAnswer: {answer}{tokenizer.eos_token}" for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
        inputs = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        piped = texts
    else:
        inputs = tokenizer(PROMPTS, ANSWERS, padding=True, return_tensors="pt")
        piped = [{"text": prompt, "text_pair": answer} for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)]
    with torch.no_grad():
        plain = network(**inputs).logits.squeeze(-1)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-5)

    classify = pipeline("text-classification", model=network, tokenizer=tokenizer, device="cpu")
    from_pipeline = torch.tensor([classify(one)["score"] if isinstance(one, dict) else classify(one)[0]["score"] for one in piped])
    torch.testing.assert_close(from_pipeline, expected, rtol=0, atol=1e-5)


def test_exports_of_equal_models_are_equal_files(base: Path, fp32: Precision, tmp_path: Path):
    for name in ("one", "two"):
        write_plain(moved(load(base, fp32, max_length=48)), tmp_path / name)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert b"tmp" not in (tmp_path / "one" / "config.json").read_bytes()


def test_an_mpt_has_as_many_positions_as_its_config_says(qwen: Path, fp32: Precision, tmp_path: Path):
    folder = shutil.copytree(qwen, tmp_path / "base")
    MptForCausalLM(MptConfig(d_model=32, n_heads=4, n_layers=1, max_seq_len=32, vocab_size=257)).save_pretrained(folder)
    assert load(folder, fp32, max_length=64).limit == 32


def test_a_network_that_adds_no_positions_reads_rows_of_any_length(bert: Path, fp32: Precision, tmp_path: Path):
    """DeBERTa's second version: its max_position_embeddings say nothing of its rows."""
    folder = shutil.copytree(bert, tmp_path / "base")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 80}
    relative = {"position_biased_input": False, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16}
    DebertaV2Model(DebertaV2Config(**sizes, **relative, max_position_embeddings=64)).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=1024)
    tokenizer.save_pretrained(folder)
    model = load(folder, fp32, max_length=200)
    (row,) = model.encoder.rows(["w1 " * 300], ["w2"])
    assert len(row) == 200 == usage_of(folder, 200).max_length
    assert model.score(pad([row], tokenizer.pad_token_id)).isfinite().all()


def test_padding_is_not_what_ends_a_turn(qwen: Path, fp32: Precision, tmp_path: Path):
    folder = shutil.copytree(qwen, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<|eot|>"})
    tokenizer.chat_template = "{% for one in messages %}{{ one.content }}<|eot|>{% endfor %}"
    tokenizer.save_pretrained(folder)
    model = load(folder, fp32, max_length=48, form=Form.CHAT)
    (row,) = model.encoder.rows(["w1"], ["w2"])
    assert row.tokens[-1] == tokenizer.pad_token_id != model.tokenizer.pad_token_id == model.network.config.pad_token_id


def test_padding_is_not_the_end_of_the_sequence(qwen: Path, fp32: Precision):
    model = load(qwen, fp32, max_length=48)
    row = model.encoder.rows(["w1"], ["w2"])[0]
    assert row.tokens[-1] == model.tokenizer.eos_token_id != model.tokenizer.pad_token_id
    with torch.no_grad():
        alone = model.score(pad([row], model.tokenizer.pad_token_id))
        longer = model.encoder.rows(["w1 w2 w3"], ["w2 w3 w4"])[0]
        padded = model.score(pad([row, longer], model.tokenizer.pad_token_id))[:1]
        hidden = model.network.model(torch.tensor(row.tokens[None].astype(int))).last_hidden_state[:, -1]
        by_hand = model.network.score(hidden).squeeze(-1)
    torch.testing.assert_close(alone, by_hand, rtol=0, atol=1e-6)
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-6)


def test_a_trained_head_is_kept(base: Path, fp32: Precision, tmp_path: Path):
    write_plain(moved(load(base, fp32, max_length=48)), tmp_path)
    assert torch.equal(scores(load(tmp_path, fp32, max_length=48, seed=1)), scores(load(tmp_path, fp32, max_length=48, seed=2)))


def test_the_head_and_the_scores_are_fp32_under_bf16(base: Path):
    model = load(base, Precision("cpu", torch.bfloat16), max_length=48)
    head = next(child for name, child in model.network.named_children() if name in ("classifier", "score"))
    seen = []
    head.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].dtype))
    in_bf16 = scores(model)
    assert in_bf16.dtype == torch.float32
    assert set(seen) == {torch.float32}
    full = scores(load(base, Precision("cpu"), max_length=48))
    assert 0 < (in_bf16 - full).abs().max() < 0.05


def test_an_adapter_trains_little_and_the_whole_head(base: Path, fp32: Precision):
    names = [name for name, _ in load(base, fp32, max_length=48, adapter=AdapterSpec(rank=2, alpha=4)).trainable()]
    assert all("lora_" in name or "modules_to_save" in name for name in names)
    assert any("modules_to_save" in name for name in names)


def test_an_unusable_folder_names_the_field(tmp_path: Path, fp32: Precision):
    with pytest.raises(SpecError, match=r"rewardModel\.base") as raised:
        load(tmp_path, fp32, max_length=48)
    assert raised.value.reason == "ModelNotSupported"
