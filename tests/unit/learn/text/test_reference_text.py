"""What peers read by the chat template of a stored model, against what the model reads."""

import pytest
from transformers import AutoTokenizer
from unit.learn.sentencepiece_like import SPACE, tokenizer

from ser_core.data.reading.dialogues.turns import Turn, render_prompt
from ser_core.learn.policy.generation import encode_prompts, policy_text
from ser_core.learn.reward.encoding import Encoder
from ser_core.learn.text.reference_text import Form, made, recorded_form

TEXTS = [("foo bar?", "good"), (" foo  ", "  bad\n"), ("What's it?\n\nAnswer: foo", "'s a word"), ("", ""), ("日本 🙂", "\n\nùà")]


@pytest.fixture(params=["always", "first", "never", "word-level"])
def tokens(request, qwen):
    return AutoTokenizer.from_pretrained(qwen) if request.param == "word-level" else tokenizer(request.param)


def by_the_template(tokens, template, *turns, **options):
    messages = [{"role": role, "content": text} for role, text in turns]
    return tokens.apply_chat_template(messages, chat_template=template, return_dict=False, **options)


@pytest.mark.parametrize(("prompt", "answer"), TEXTS)
def test_the_chat_template_gives_the_ids_of_the_encoder(tokens, prompt, answer):
    encoder = Encoder(tokens, 999, Form.ONE_TEXT)
    (row,) = encoder.rows([prompt], [answer])
    assert by_the_template(tokens, encoder.chat_template, ("user", prompt), ("assistant", answer)) == row.tokens.tolist()


def test_earlier_turns_and_the_system_are_rendered_as_in_the_data(tokens):
    encoder = Encoder(tokens, 999, Form.ONE_TEXT)
    turns = [("system", "good word"), ("user", "foo"), ("assistant", "bar"), ("user", "bad")]
    (row,) = encoder.rows([render_prompt([Turn(*turn) for turn in turns])], ["word"])
    assert by_the_template(tokens, encoder.chat_template, *turns, ("assistant", "word")) == row.tokens.tolist()


@pytest.mark.parametrize(("prompt", "answer"), TEXTS)
def test_the_template_of_a_policy_asks_as_ppo_does(tokens, prompt, answer):
    text = policy_text(tokens)
    asked = by_the_template(tokens, text.template, ("user", prompt), add_generation_prompt=True)
    assert asked == list(encode_prompts(tokens, [prompt], tokens=999)[0].tokens)
    assert by_the_template(tokens, text.template, ("user", prompt), ("assistant", answer))[-1] == tokens.eos_token_id


def test_one_text_has_one_space_before_the_answer_where_two_texts_had_two():
    tokens = tokenizer("always")
    one, two = (Encoder(tokens, 99, form).rows(["foo"], ["good"])[0].tokens for form in (Form.ONE_TEXT, Form.TWO_TEXTS))
    ends = [tokens.convert_ids_to_tokens(row.tolist())[-3:] for row in (one, two)]
    assert ends == [["Answer:", f"{SPACE}good", "</s>"], [SPACE * 2, "good", "</s>"]]


@pytest.mark.parametrize("tokens", ["first", "never", "word-level"], indirect=True)
@pytest.mark.parametrize("length", [10, 20, 999])
def test_for_all_other_tokenizers_nothing_changes(tokens, length):
    one, two = (Encoder(tokens, length, form).rows(["foo bar?"], ["good word"])[0] for form in (Form.ONE_TEXT, Form.TWO_TEXTS))
    assert (one.tokens.tolist(), one.answer_tokens, one.truncated) == (two.tokens.tolist(), two.answer_tokens, two.truncated)


@pytest.mark.parametrize("form", [Form.ONE_TEXT, Form.TWO_TEXTS])
def test_a_stored_model_says_how_it_learnt(form):
    tokens = tokenizer("always")
    tokens.chat_template = Encoder(tokens, 99, form).chat_template
    assert recorded_form(tokens) is form
    assert (made(tokens.chat_template).before, made(tokens.chat_template).after) == (1, 1)


def test_what_two_texts_learnt_is_rendered_too():
    tokens = tokenizer("always")
    encoder = Encoder(tokens, 99, Form.TWO_TEXTS)
    assert (
        by_the_template(tokens, encoder.chat_template, ("user", "foo"), ("assistant", "good"))
        == encoder.rows(["foo"], ["good"])[0].tokens.tolist()
    )


def test_a_model_of_an_earlier_version_has_no_record():
    tokens = tokenizer("always")
    tokens.chat_template = "{{ messages[0]['content'] }}"
    assert recorded_form(tokens) is Form.TWO_TEXTS


@pytest.mark.parametrize("message", [{"role": "tool", "content": "foo"}, {"role": "user", "content": [{"type": "text", "text": "foo"}]}])
def test_what_was_never_learnt_is_refused(message):
    tokens = tokenizer("always")
    with pytest.raises(Exception, match=r"roles are|is text"):
        tokens.apply_chat_template([message], chat_template=Encoder(tokens, 99, Form.ONE_TEXT).chat_template)
