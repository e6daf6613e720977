"""What an export says of the text that its model learnt."""

import json

import pytest
from transformers import AutoTokenizer
from unit.learn.sentencepiece_like import policy

from ser_core.learn.policy.generation import encode_prompts
from ser_core.learn.text.reference_text import Form
from ser_core.report.learnt_text import how_made, tell_peers


@pytest.fixture(params=["chat_template.jinja", "tokenizer_config.json", "additional_chat_templates"])
def earlier(request, tmp_path):
    """A policy of version 0.1.0: with the chat template of its base, in any of the places where that can be."""
    folder = policy(tmp_path / "policy", "always")
    of_the_base = folder / "chat_template.jinja"
    if request.param == "tokenizer_config.json":
        config = json.loads((folder / request.param).read_text())
        (folder / request.param).write_text(json.dumps(config | {"chat_template": of_the_base.read_text()}))
        of_the_base.unlink()
    if request.param == "additional_chat_templates":
        (folder / request.param).mkdir()
        (folder / request.param / "tool_use.jinja").write_text("tools")
    return folder


def test_a_policy_of_an_earlier_version_is_asked_as_it_learnt(earlier):
    tell_peers(earlier, "policy")
    tokens = AutoTokenizer.from_pretrained(earlier)
    asked = tokens.apply_chat_template([{"role": "user", "content": "foo bar"}], add_generation_prompt=True, return_dict=False)
    assert asked == list(encode_prompts(tokens, ["foo bar"], tokens=99)[0].tokens)
    assert (how_made(earlier).form, "chat_template" in json.loads((earlier / "tokenizer_config.json").read_text())) == (
        Form.TWO_TEXTS,
        False,
    )


def test_what_a_model_says_already_is_left_as_it_is(earlier):
    tell_peers(earlier, "policy")
    before = {path.name: path.read_bytes() for path in earlier.iterdir()}
    tell_peers(earlier, "policy")
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == before


def test_a_reader_of_text_pairs_has_no_template_and_gives_raw_scores(bert, tmp_path):
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((bert / name).read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    tell_peers(tmp_path, "rewardModel")
    assert not (tmp_path / "chat_template.jinja").exists()
    assert json.loads((tmp_path / "config.json").read_text())["sentence_transformers"]["activation_fn"].endswith("Identity")
