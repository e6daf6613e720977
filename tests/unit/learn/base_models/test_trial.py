"""Base models are tried without their weights: what does not fit is refused, what works is not."""

import json
import string

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models
from unit.learn.broken_models import UNFIT, change_config, change_weights, copy_of, pickled_shards
from unit.learn.text.test_chat_text import NO_SYSTEM

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.policy import PolicySpec
from ser_core.api.spec.reward_model import RewardModelSpec
from ser_core.api.spec.storage import HubSpec, StorageSpec
from ser_core.data.reading.dialogues.turns import TURN
from ser_core.data.reading.locations import Access
from ser_core.data.reading.models.base_model import check_base_model, check_policy_base
from ser_core.errors import DataError, SpecError
from ser_core.learn.base_models.trial import refuse_dialogues, try_policy, try_reward_model
from ser_core.learn.policy.policy import load_policy
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_rows
from ser_core.learn.text.chat_text import take_template
from ser_core.learn.weights.pretrained import told_of_the_model

ACCESS = Access(StorageSpec(uri="file:///nowhere"), HubSpec())
SMALL = {
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


@pytest.fixture
def try_reward(tmp_path):
    def run(folder, max_length=32, **more):
        spec = RewardModelSpec(base=f"file://{folder}", max_length=max_length, **more)
        return try_reward_model(check_base_model(spec, ACCESS, tmp_path / "reward"), spec, tmp_path / "reward-trial")

    return run


@pytest.fixture
def try_writer(tmp_path, try_reward, bert):
    def run(folder, reward=bert, **more):
        spec = PolicySpec(base=f"file://{folder}", prompt_tokens=32, answer_tokens=16, **more)
        base = check_policy_base(spec, ACCESS, tmp_path / "policy")
        return try_policy(base, spec, try_reward(reward), tmp_path / "policy-trial")

    return run


@pytest.mark.parametrize("breaking", UNFIT, ids=lambda one: one.__name__)
@pytest.mark.parametrize("asked", ["reward model", "policy"])
def test_weights_that_do_not_fit_are_refused_from_their_headers(breaking, asked, qwen, tmp_path, try_reward, try_writer):
    folder = copy_of(qwen, tmp_path)
    breaking(folder)
    reason, told = UNFIT[breaking]
    field = "rewardModel.base: " if asked == "reward model" else "policy.base: "
    with pytest.raises(SpecError, match=told) as caught:
        (try_reward if asked == "reward model" else try_writer)(folder)
    assert (caught.value.reason, bool(caught.value.hint)) == (reason, True)
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    "breaking",
    [one for one in UNFIT if one.__name__ not in ("index_without_map", "odd_size", "quantised_numbers")],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize("load_it", [lambda folder, fp32: load(folder, fp32, max_length=32), load_policy], ids=["reward model", "policy"])
def test_weights_that_do_not_fit_are_refused_when_they_are_loaded(breaking, load_it, qwen, tmp_path, fp32):
    folder = copy_of(qwen, tmp_path)
    breaking(folder)
    with pytest.raises(SpecError) as caught:
        load_it(folder, fp32)
    assert caught.value.reason == "ModelNotSupported"
    if UNFIT[breaking][0] == "ModelNotSupported" and "quantised" not in UNFIT[breaking][1]:
        assert caught.match(UNFIT[breaking][1])


def test_weights_of_zeros_alone_are_refused_from_the_beginnings_of_their_files(qwen, tmp_path, try_reward, try_writer):
    folder = copy_of(qwen, tmp_path)
    change_weights(folder, lambda weights: {name: torch.zeros_like(one) for name, one in weights.items()})
    for tried in (try_reward, try_writer):
        with pytest.raises(SpecError, match="all numbers at the beginning are zero"):
            tried(folder)


@pytest.mark.parametrize("kind", [torch.bool, torch.complex64])
def test_weights_that_no_layer_computes_with_are_refused(kind, qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    change_weights(folder, lambda weights: {name: one.to(kind) if "norm" in name else one for name, one in weights.items()})
    with pytest.raises(SpecError, match="which no layer computes with"):
        try_reward(folder)


def test_a_tokenizer_that_makes_other_tokens_each_time_is_refused(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    config = transformers.AutoConfig.for_model("qwen3", **SMALL, num_key_value_heads=2, head_dim=8)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)  # qwen2's own tokenizer takes no dropout from a file
    words = {letter: number for number, letter in enumerate((*string.printable, "ab", "cd", "ef", "gh", "ij"))}
    model = models.BPE(words, [tuple(pair) for pair in ("ab", "cd", "ef", "gh", "ij")], dropout=0.5)
    Tokenizer(model).save(str(folder / "tokenizer.json"))
    with pytest.raises(SpecError, match="other tokens of the same text each time"):
        try_reward(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("load_it", [lambda folder, fp32: load(folder, fp32, max_length=32), load_policy], ids=["reward model", "policy"])
def test_weights_that_are_no_numbers_are_refused_when_they_are_loaded(number, load_it, qwen, tmp_path, fp32):
    folder = copy_of(qwen, tmp_path)
    name = "model.layers.0.mlp.up_proj.weight"
    change_weights(folder, lambda weights: {**weights, name: weights[name].index_fill(0, torch.tensor([3]), number)})
    with pytest.raises(SpecError, match=r"NaN or infinite numbers: model\.layers\.0\.mlp\.up_proj\.weight$"):
        load_it(folder, fp32)


def test_weights_whose_sum_is_too_large_are_numbers(qwen, tmp_path, fp32):
    folder = copy_of(qwen, tmp_path)
    change_weights(folder, lambda weights: {**weights, "model.norm.weight": torch.full_like(weights["model.norm.weight"], 3e38)})
    load(folder, fp32, max_length=32)


FAMILIES = {
    "roberta": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "deberta-v2": {},
    "mpnet": {},
    "modernbert": {"layer_types": ["full_attention", "sliding_attention"]},
    "llama": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8},
    "phi3": {"num_key_value_heads": 2, "eos_token_id": 0, "bos_token_id": 0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
    "qwen3_moe": {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_of_a_family_that_works_is_taken(family, qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    config = transformers.AutoConfig.for_model(family, **{**SMALL, **FAMILIES[family]})
    kinds = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    (transformers.AutoModelForCausalLM if family in kinds and family != "roberta" else transformers.AutoModel).from_config(
        config
    ).save_pretrained(folder)
    tried = try_reward(folder)
    assert tried.new
    assert not {part for part in tried.new if part not in ("score", "classifier", "pre_classifier", "head", "pooler", f"{family}.pooler")}


MIXTURES = {
    "qwen3_moe": FAMILIES["qwen3_moe"],
    "phimoe": {"num_key_value_heads": 2, "num_local_experts": 4},
    "deepseek_v3": {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 0}
    | {"moe_intermediate_size": 16, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8},
}


@pytest.mark.parametrize("family", MIXTURES)
def test_an_adapter_that_could_not_be_loaded_again_is_refused(family, qwen, tmp_path, try_reward, try_writer):
    folder = tiny(copy_of(qwen, tmp_path), family, **MIXTURES[family])
    for tried, field in ((try_reward, "rewardModel"), (try_writer, "policy")):
        with pytest.raises(SpecError, match=rf"{field}\.base: a {family} cannot have an adapter") as caught:
            tried(folder, adapter=AdapterSpec(rank=2))
        assert caught.value.reason == "ModelNotSupported"


def test_experts_that_no_adapter_learns_stay_as_they_are_and_are_told(qwen, tmp_path, try_reward):
    folder = tiny(copy_of(qwen, tmp_path), "gpt_oss", **FAMILIES["mixtral"], num_experts_per_tok=2, head_dim=8)
    tried = try_reward(folder, adapter=AdapterSpec(rank=2))
    assert tried.new == ("score",)
    assert "in a mixture of experts the last bits of a row depend on the rest of its batch" in tried.warnings[0]


def test_a_missing_pooler_is_told_and_a_head_that_is_there_is_kept(bert, tmp_path, try_reward):
    folder = copy_of(bert, tmp_path)
    change_weights(folder, lambda weights: {name: one for name, one in weights.items() if "pooler" not in name})
    assert try_reward(folder).new == ("bert.pooler", "classifier")
    change_weights(folder, lambda weights: {**weights, "classifier.weight": torch.zeros(1, 36), "classifier.bias": torch.zeros(1)})
    assert try_reward(folder).new == ("bert.pooler",)
    change_weights(folder, lambda weights: {**weights, "classifier.weight": torch.zeros(3, 36), "classifier.bias": torch.zeros(3)})
    assert try_reward(folder).new == ("bert.pooler", "classifier")


@pytest.mark.parametrize(
    "other",
    [
        {"v_head.summary.weight": (1, 36)},
        {"reward_head.weight": (1, 36), "reward_head.bias": (1,)},
        {"score.0.weight": (8, 36), "score.2.weight": (1, 8)},
    ],
)
def test_a_head_of_another_kind_is_told(qwen, tmp_path, try_reward, other):
    folder = copy_of(qwen, tmp_path)
    change_weights(folder, lambda weights: weights | {name: torch.ones(shape) for name, shape in other.items()})
    (told,) = try_reward(folder).warnings
    matrices = ", ".join(name for name, shape in other.items() if len(shape) == 2)
    assert f"its weights hold {matrices}, a head that is not used: score starts at random" in told


def test_a_head_that_is_no_score_is_nothing_to_tell(bert, tmp_path, try_reward):
    folder = copy_of(bert, tmp_path)
    others = {"cls.predictions.decoder.weight": (257, 36), "qa_outputs.weight": (2, 36), "discriminator_predictions.out.weight": (1, 36)}
    change_weights(folder, lambda weights: weights | {name: torch.ones(shape) for name, shape in others.items()})
    assert try_reward(folder).warnings == ()


def test_an_adapter_beside_the_weights_is_told(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    (folder / "adapter_config.json").write_text("{}")
    assert "an adapter (adapter_config.json), which is not used: merge it" in try_reward(folder).warnings[0]


@pytest.mark.parametrize("name", ["auto", "torch.bfloat16", "bf16"])
def test_a_type_that_torch_does_not_know_is_refused_with_what_to_write(qwen, tmp_path, try_reward, name):
    folder = copy_of(qwen, tmp_path)
    change_config(folder, dtype=name)
    with pytest.raises(SpecError, match=f"dtype in its config.json is {name!r}") as caught:
        try_reward(folder)
    assert (caught.value.reason, "bfloat16, float16 or float32" in caught.value.hint) == ("BadModelConfig", True)


def test_an_encoder_that_reads_from_left_to_right_is_refused(bert, tmp_path, try_reward):
    folder = copy_of(bert, tmp_path)
    change_config(folder, is_decoder=True)
    with pytest.raises(SpecError, match=r"is a bert, whose config\.json has is_decoder"):
        try_reward(folder)


def test_how_a_policy_ends_its_answers_is_never_lost_unseen(qwen, tmp_path, try_writer):
    folder = copy_of(qwen, tmp_path)
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(SpecError, match=r"policy\.base: generation_config\.json of .* is no JSON") as caught:
        try_writer(folder)
    assert caught.value.reason == "BadModelConfig"


def test_layers_that_the_config_leaves_out_are_told(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    change_config(folder, num_hidden_layers=1, layer_types=["full_attention"])
    assert "more layers than config.json says, which are not used: model.layers.1" in try_reward(folder).warnings[0]


def test_a_tokenizer_that_allows_fewer_tokens_is_told(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "model_max_length": 40}))
    assert try_reward(folder, 40).warnings == ()
    assert "maxLength 64: its tokenizer allows 40" in try_reward(folder, 64).warnings[0]


def pad_beyond_the_table(folder):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(folder)


def test_a_tokenizer_without_room_for_a_pair_is_refused(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 0}))
    with pytest.raises(SpecError, match="allows 0 tokens") as caught:
        try_reward(folder)
    assert "model_max_length" in caught.value.hint


def test_layers_that_contradict_the_config_are_told_with_both_numbers(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    change_config(folder, num_hidden_layers=3)
    with pytest.raises(SpecError, match=r"ValueError: .num_hidden_layers. \(3\) must be equal to the number of .layer_types. \(2\)"):
        try_reward(folder)


def test_tokens_beyond_the_table_get_rows_of_their_own(qwen, tmp_path, fp32, try_reward):
    folder = copy_of(qwen, tmp_path)
    pad_beyond_the_table(folder)
    assert "up to number 258, its table 257 rows: rows are added" in try_reward(folder).warnings[0]
    model = load(folder, fp32, max_length=64)
    assert score_rows(model, model.encoder.rows(["[PAD]"], ["an <extra> word"]), 512).shape == (1,)
    policy = load_policy(folder, fp32)
    assert policy.network.get_input_embeddings().num_embeddings == 259
    assert all(torch.equal(one, policy.reference.state_dict()[name]) for name, one in policy.network.state_dict().items())


def tiny(folder, family, **more):
    sizes = SMALL if family != "xlnet" else {"vocab_size": 257}
    config = transformers.AutoConfig.for_model(family, **{**sizes, **more})
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


BART = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("bart", BART, "an encoder with a decoder"),
        ("xlnet", {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 64}, "depends on the padding"),
        ("granite", {"num_key_value_heads": 2}, "cannot load as a sequence-classification model"),
    ],
)
def test_a_base_that_cannot_score_row_by_row_is_refused(family, more, told, qwen, tmp_path, try_reward):
    with pytest.raises(SpecError, match=told):
        try_reward(tiny(copy_of(qwen, tmp_path), family, **more))


@pytest.mark.parametrize("family", ["fnet", "nystromformer", "canine"])
def test_a_base_that_reads_padding_is_refused(family, qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    change_config(folder, model_type=family)
    with pytest.raises(SpecError, match="depends on the padding"):
        try_reward(folder)


def test_a_base_that_fails_in_bf16_is_refused_where_it_could_be_computed_so(bert, tmp_path, try_reward):
    folder = copy_of(bert, tmp_path)
    change_config(folder, model_type="deberta")
    with pytest.raises(SpecError, match=r"rewardModel\.precision auto: .* is a deberta, which computes in fp32 alone"):
        try_reward(folder)


@pytest.mark.parametrize(
    ("family", "more", "told"),
    [
        ("bert", {}, "reads in both directions"),
        ("bart", BART, "an encoder with a decoder"),
        ("rwkv", {"attention_hidden_size": 32}, "does not follow its own probabilities"),
        ("granite", {"num_key_value_heads": 2}, "no scoring model of that kind, so PPO's critic cannot start"),
    ],
)
def test_a_policy_that_cannot_be_trained_is_refused(family, more, told, qwen, tmp_path, try_writer):
    with pytest.raises(SpecError, match=told) as caught:
        try_writer(tiny(copy_of(qwen, tmp_path), family, **more))
    assert caught.value.message.startswith("policy.base: ")


def test_a_policy_without_a_scoring_model_is_taken_where_the_reward_model_can_be_the_critic(qwen, tmp_path, try_writer):
    assert try_writer(tiny(copy_of(qwen, tmp_path), "granite", num_key_value_heads=2), reward=qwen).new == ()


def test_a_policy_that_needs_no_critic_needs_no_scoring_model(qwen, tmp_path, try_writer):
    folder = tiny(copy_of(qwen, tmp_path), "granite", num_key_value_heads=2)
    assert try_writer(folder, advantage="rloo", answers_per_prompt=4).new == ()


def test_a_policy_without_an_end_token_is_refused(qwen, tmp_path, try_writer):
    folder = copy_of(qwen, tmp_path)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "eos_token": None}))
    change_config(folder, eos_token_id=None)
    (folder / "generation_config.json").unlink(missing_ok=True)
    with pytest.raises(SpecError, match="no end-of-sequence token"):
        try_writer(folder)


def test_shards_that_are_pickles_are_never_read(qwen, tmp_path, try_reward):
    folder = copy_of(qwen, tmp_path)
    pickled_shards(folder)
    with pytest.raises(SpecError, match="only safetensors are loaded"):
        try_reward(folder)


def test_a_token_far_beyond_the_table_is_refused(qwen, tmp_path, try_reward):
    """A row for each number up to it would take all memory."""
    folder = copy_of(qwen, tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["far"] = 10**8
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(SpecError, match=r"a token number 100,000,000, far beyond the 257 rows of its table"):
        try_reward(folder)


@pytest.mark.parametrize(
    "raised", [ImportError("needs sentencepiece"), KeyError("x"), ValueError(""), RuntimeError("bad\nworse"), StopIteration()]
)
def test_what_transformers_raises_is_told_of_the_model(raised):
    with (
        pytest.raises(SpecError, match=rf"policy\.base: cannot load it: {type(raised).__name__}") as caught,
        told_of_the_model("policy.base", "cannot load it"),
    ):
        raise raised
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("raised", "passed_on"),
    [
        (MemoryError("no"), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), MemoryError),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (OSError(28, "No space left on device"), OSError),
        (OSError(5, "Input/output error"), OSError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_is_the_machines_is_passed_on(raised, passed_on):
    with pytest.raises(passed_on), told_of_the_model("policy.base", "cannot load it"):
        raise raised


@pytest.mark.parametrize(
    ("model", "asked", "told"),
    [
        ("bert", {"template": "chat"}, r"rewardModel\.template chat: file://.* reads prompt and answer as a text pair"),
        ("bert", {"template": "custom", "template_text": "{prompt} {answer}"}, r"rewardModel\.template custom: .* text pair"),
        ("qwen", {"template": "chat"}, r"rewardModel\.template chat: its tokenizer has no chat template"),
    ],
)
def test_a_template_that_a_base_cannot_learn_is_refused(model, asked, told, request, tmp_path):
    spec = RewardModelSpec(base=f"file://{request.getfixturevalue(model)}", max_length=32, **asked)
    with pytest.raises(SpecError, match=told) as caught:
        try_reward_model(check_base_model(spec, ACCESS, tmp_path / "files"), spec, tmp_path / "trial")
    assert (caught.value.reason, bool(caught.value.hint)) == ("ModelNotSupported", True)


def test_dialogues_are_tried_once_for_each_order_of_roles(qwen, tmp_path):
    spec = RewardModelSpec(base=f"file://{qwen}", max_length=32, template="custom", template_text="{prompt} {answer}")
    tried = try_reward_model(check_base_model(spec, ACCESS, tmp_path / "files"), spec, tmp_path / "trial")
    with_system = f"{TURN}System: a\n\n{TURN}Human: b"
    refuse_dialogues(tried.tokenizer, ["a", with_system], "rewardModel.template")
    tried.tokenizer.chat_template = NO_SYSTEM
    take_template(tried.tokenizer, None)
    with pytest.raises(DataError, match=r"rewardModel\.template: the chat template does not take a dialogue of the turns system, user"):
        refuse_dialogues(tried.tokenizer, ["a", with_system], "rewardModel.template")
    tried.tokenizer.chat_template = "{% for one in messages if one.role != 'system' %}{{ one.content }}{% endfor %}"
    take_template(tried.tokenizer, None)
    refuse_dialogues(tried.tokenizer, ["a"], "rewardModel.template")
    with pytest.raises(DataError, match=r"leaves a turn of the system out of a dialogue of the turns system, user$"):
        refuse_dialogues(tried.tokenizer, ["a", with_system], "rewardModel.template")
