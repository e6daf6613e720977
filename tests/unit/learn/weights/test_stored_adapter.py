"""What is stored of a trained adapter gives, with its base, exactly the model that was trained."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from plain_models import write_plain
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.policy.batches import sequences
from ser_core.learn.policy.policy import export_stored as export_policy
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.policy.ppo.critic import load_critic
from ser_core.learn.policy.ppo.trunk import share_trunk
from ser_core.learn.reward.batching import pad
from ser_core.learn.reward.reward_model import RewardModel, export_stored, load
from ser_core.report.model_card import plain_model
from ser_core.store.stages.model_folder import root

ADAPTER = AdapterSpec(rank=2, alpha=6)
BF16 = Precision("cpu", torch.bfloat16)
BATCH = sequences([[3, 4], [5]], [[5, 6], [7, 8, 9]], "cpu")


def trained(folder: Path, precision: Precision, adapter: AdapterSpec | None = ADAPTER) -> RewardModel:
    """A reward model whose trainable weights have all changed, as training would."""
    model = load(folder, precision, max_length=48, seed=5, adapter=adapter)
    torch.manual_seed(7)
    with torch.no_grad():
        for _, weight in model.trainable():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


def stored(base: Path, precision: Precision, folder: Path, adapter: AdapterSpec | None = ADAPTER) -> Path:
    trained(base, precision, adapter).store(folder, base=base, half=True)
    return folder


def scores(folder: Path, precision: Precision) -> torch.Tensor:
    model = load(folder, precision, max_length=48, frozen=True)
    with torch.no_grad():
        return model.score(pad(model.encoder.rows(["w1 w2 w3", "w4"], ["w7", "w8 w9 w10"]), model.tokenizer.pad_token_id))


@pytest.mark.parametrize("precision", [Precision("cpu"), BF16])
def test_the_export_of_a_stored_adapter_scores_to_the_last_bit_as_the_adapter_on_its_base(base: Path, tmp_path: Path, precision: Precision):
    export_stored(stored(base, precision, tmp_path / "stored"), tmp_path / "plain")
    expected = scores(tmp_path / "stored", precision)
    assert torch.equal(scores(tmp_path / "plain", precision), expected)
    assert not torch.equal(scores(base, precision), expected)


def test_an_export_is_quiet_about_the_head_that_the_base_lacks(base: Path, fp32: Precision, tmp_path: Path):
    folder = stored(base, fp32, tmp_path / "stored")
    transformers.logging.set_verbosity_warning()
    plain_model(folder, tmp_path / "plain", "rewardModel")
    assert transformers.logging.get_verbosity() == transformers.logging.ERROR


def test_it_is_what_merging_after_the_training_gives(base: Path, fp32: Precision, tmp_path: Path):
    write_plain(trained(base, fp32), tmp_path / "merged")
    assert torch.equal(scores(stored(base, fp32, tmp_path / "stored"), fp32), scores(tmp_path / "merged", fp32))


def test_no_weight_of_the_base_is_stored_again(qwen: Path, fp32: Precision, tmp_path: Path):
    folder = stored(qwen, fp32, tmp_path / "stored")
    names = load_file(folder / "adapter_model.safetensors")
    assert all(".lora_" in name or name == "base_model.model.score.weight" for name in names)
    assert root(folder).resolve() == qwen.resolve()
    assert json.loads((folder / "adapter_config.json").read_text())["modules_to_save"] == ["classifier", "score"]
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text()


def test_equal_adapters_have_equal_bytes(qwen: Path, fp32: Precision, tmp_path: Path):
    model = trained(qwen, fp32)
    for number in range(12):
        model.store(tmp_path / str(number), base=qwen, half=True)
    assert len({(tmp_path / str(number) / "adapter_model.safetensors").read_bytes() for number in range(12)}) == 1


def test_a_new_adapter_on_a_stored_one_starts_as_on_its_merged_weights(base: Path, fp32: Precision, tmp_path: Path):
    write_plain(trained(base, fp32), tmp_path / "merged")
    first = stored(base, fp32, tmp_path / "stored")
    ways = [dict(load(folder, fp32, max_length=48, seed=3, adapter=ADAPTER).trainable()) for folder in (first, tmp_path / "merged")]
    assert all(torch.equal(weight, ways[1][name]) for name, weight in ways[0].items())
    second = stored(first, fp32, tmp_path / "second")
    write_plain(trained(tmp_path / "merged", fp32), tmp_path / "again")
    assert torch.equal(scores(second, fp32), scores(tmp_path / "again", fp32))


def test_peft_reads_it(qwen: Path, fp32: Precision, tmp_path: Path):
    from peft import PeftModel

    folder = stored(qwen, fp32, tmp_path / "stored")
    model = load(folder, fp32, max_length=48)
    rows = pad(model.encoder.rows(["w1"], ["w7 w8"]), model.tokenizer.pad_token_id)
    network = AutoModelForSequenceClassification.from_pretrained(folder / "base", num_labels=1)
    network.resize_token_embeddings(len(model.tokenizer), mean_resizing=False)
    network.config.pad_token_id = model.tokenizer.pad_token_id
    network = PeftModel.from_pretrained(network, folder).eval()
    with torch.no_grad():
        theirs = network(input_ids=rows.input_ids, attention_mask=rows.attention_mask).logits.squeeze(-1)
        torch.testing.assert_close(theirs, model.score(rows), rtol=0, atol=1e-5)


def test_all_weights_that_nothing_trains_on_are_kept_as_they_are_computed(base: Path, tmp_path: Path):
    trained(base, BF16, None).store(tmp_path / "half", base=base, half=True)
    trained(base, BF16, None).store(tmp_path / "whole", base=base, half=False)
    kinds = {name: tensor.dtype for name, tensor in load_file(tmp_path / "half" / "model.safetensors").items()}
    assert all(kind is torch.float32 for name, kind in kinds.items() if name.startswith(("score.", "classifier.")))
    assert sum(kind is torch.bfloat16 for kind in kinds.values()) >= 8
    assert torch.equal(scores(tmp_path / "half", BF16), scores(tmp_path / "whole", BF16))


@pytest.mark.parametrize("precision", [Precision("cpu"), BF16])
def test_the_export_of_a_stored_policy_computes_as_the_adapter_on_its_base(qwen: Path, tmp_path: Path, precision: Precision):
    policy = load_policy(qwen, precision, adapter=ADAPTER)
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(0.05)
        policy.store(tmp_path / "stored", base=qwen)
        export_policy(tmp_path / "stored", tmp_path / "plain")
        ways = [load_policy(tmp_path / name, precision).log_probabilities(BATCH, 1.0) for name in ("stored", "plain")]
        torch.testing.assert_close(ways[0], policy.log_probabilities(BATCH, 1.0), rtol=0, atol=1e-5 if precision.autocast is None else 0.05)
    assert torch.equal(*ways)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_critic_goes_on_from_the_reward_models_adapter_on_the_policys_own_trunk(qwen: Path, fp32: Precision, tmp_path: Path, rank: int):
    best, adapter = stored(qwen, fp32, tmp_path / "best"), AdapterSpec(rank=rank, alpha=5)
    policy = load_policy(qwen, fp32, adapter=adapter)
    merged, critic = (load_critic(best, fp32, policy.tokenizer.get_vocab(), adapter=one) for one in (None, adapter))
    with torch.no_grad():
        expected = merged.values(BATCH, 0.0)
        torch.testing.assert_close(critic.values(BATCH, 0.0), expected, rtol=0, atol=1e-5)
        share_trunk(policy, critic, qwen)
        torch.testing.assert_close(critic.values(BATCH, 0.0), expected, rtol=0, atol=1e-5)
    mine = {weight.data_ptr() for weight in policy.network.parameters()}
    frozen = [weight for name, weight in critic.network.named_parameters() if not weight.requires_grad and "original_module" not in name]
    assert all(weight.data_ptr() in mine for weight in frozen)


def test_a_critic_whose_trunk_is_another_than_the_policys_keeps_what_it_has_learnt(qwen: Path, fp32: Precision, tmp_path: Path):
    best = stored(qwen, fp32, tmp_path / "best")
    tuned = load_policy(qwen, fp32, adapter=AdapterSpec(rank=1, alpha=1))
    with torch.no_grad():
        for _, weight in tuned.trainable():
            weight.add_(0.02)
    tuned.store(tmp_path / "tuned", base=qwen)
    adapter = AdapterSpec(rank=3, alpha=6)
    policy = load_policy(tmp_path / "tuned", fp32, adapter=adapter)
    critic = load_critic(best, fp32, policy.tokenizer.get_vocab(), adapter=adapter)
    with torch.no_grad():
        expected = critic.values(BATCH, 0.0)
        assert share_trunk(policy, critic, tmp_path / "tuned") > 0.9, "both differences together have rank 3, and the adapter holds them"
        torch.testing.assert_close(critic.values(BATCH, 0.0), expected, rtol=0, atol=1e-4)


def test_an_adapter_of_another_kind_of_model_is_refused(qwen: Path, bert: Path, fp32: Precision, tmp_path: Path):
    folder = stored(qwen, fp32, tmp_path / "stored")
    (folder / "base").unlink()
    (folder / "base").symlink_to(bert)
    with pytest.raises(SpecError, match="does not lie on"):
        load(folder, fp32, max_length=48)
