"""A policy keeps nothing of its base's generation config but the tokens."""

import json

import pytest
from transformers import AutoTokenizer, GenerationConfig
from unit.learn.sentencepiece_like import policy

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.policy.policy import export_stored, load_policy
from ser_core.store.stages.model_folder import is_adapter

ENDED = (
    "{% for one in messages %}{{ one['role'] }} {{ one['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
)
FAULTY = {"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.05, "pad_token_id": -1, "bos_token_id": 1, "eos_token_id": [2, 5]}


@pytest.fixture
def base(tmp_path):
    """Its template ends an answer with a token that its generation config lacks, in which transformers finds faults when it saves."""
    folder = policy(tmp_path / "base", "first")
    tokens = AutoTokenizer.from_pretrained(folder)
    tokens.add_special_tokens({"additional_special_tokens": ["<|end|>"]})
    tokens.chat_template = ENDED
    tokens.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(FAULTY))
    return folder


@pytest.mark.parametrize("adapter", [None, AdapterSpec(rank=2)])
def test_a_stored_policy_samples_from_what_learns_and_ends_as_its_template_does(base, fp32, tmp_path, adapter):
    loaded = load_policy(base, fp32, template="chat", adapter=adapter)
    loaded.store(tmp_path / "stored", base=base)
    plain = tmp_path / "stored"
    if is_adapter(plain):
        export_stored(plain, tmp_path / "plain")
        plain = tmp_path / "plain"
    found = GenerationConfig.from_pretrained(plain)
    found.validate(strict=True)
    end, pad = loaded.tokenizer.convert_tokens_to_ids("<|end|>"), loaded.tokenizer.pad_token_id
    tokens = {"bos_token_id": 1, "eos_token_id": [2, 5, end], "pad_token_id": pad}
    told = json.loads((plain / "generation_config.json").read_text())
    del told["transformers_version"]
    assert told == tokens | {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    assert loaded.end_tokens == (2, 5, end)
