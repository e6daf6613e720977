"""A model that learns with a chat template reads what everybody gets who applies that template."""

import pytest
from unit.learn.sentencepiece_like import tokenizer

from ser_core.data.reading.dialogues.turns import Turn, render_prompt
from ser_core.errors import DataError, SpecError
from ser_core.learn.policy.generation import encode_prompts
from ser_core.learn.policy.supervised import encode_demonstrations
from ser_core.learn.reward.encoding import Encoder
from ser_core.learn.text.chat_text import chat_text_of, take_template
from ser_core.learn.text.reference_text import Form, made, recorded_form, without_record

CHATML = """{{ bos_token }}{% for message in messages %}
{{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>' ~ '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
TURNS = [("system", "good word"), ("user", "foo\n\nHuman: bar"), ("assistant", "bar"), ("user", "bad")]


@pytest.fixture(params=["always", "first", "never"])
def tokens(request):
    return chat_tokenizer(request.param)


def chat_tokenizer(kind="first", template=CHATML):
    found = tokenizer(kind)
    found.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    found.chat_template = template
    return found


def messages(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def learnt(tokens, text=None):
    take_template(tokens, text)
    return tokens


@pytest.mark.parametrize("turns", [[("user", "foo bar?")], TURNS])
def test_a_row_has_the_ids_of_the_tokenizers_own_template(tokens, turns):
    own = tokens.apply_chat_template(messages(*turns, ("assistant", "good")), return_dict=False)
    prompt = render_prompt([Turn(*turn) for turn in turns])
    (row,) = Encoder(learnt(tokens), 999, Form.CHAT).rows([prompt], ["good"])
    assert row.tokens.tolist() == own
    assert tokens.apply_chat_template(messages(*turns, ("assistant", "good")), return_dict=False) == own
    assert tokens.decode(row.tokens[row.second :], skip_special_tokens=True).strip() == "good"


def test_the_record_renders_nothing_and_is_read_again(tokens):
    own = tokens.chat_template
    learnt(learnt(tokens))
    assert (recorded_form(tokens), without_record(tokens.chat_template)) == (Form.CHAT, own)
    assert made(tokens.chat_template).before == 1


@pytest.mark.parametrize(("length", "prompt", "answer"), [(12, " w" * 30, "good"), (12, "foo", " w" * 30)])
def test_a_row_that_is_too_long_keeps_its_control_tokens_at_both_ends(length, prompt, answer):
    tokens = learnt(chat_tokenizer("never"))
    encoder = Encoder(tokens, length, Form.CHAT)
    (row,) = encoder.rows([prompt], [answer])
    assert (len(row), row.truncated) == (length, True)
    assert tokens.convert_ids_to_tokens(row.tokens.tolist())[0] == "<s>"
    assert tokens.convert_ids_to_tokens(row.tokens.tolist())[-2:] == ["<|im_end|>", "\n"]


HEADER = ["<|im_end|>", "\n", "<|im_start|>", "assistant", "\n"]


@pytest.mark.parametrize(
    ("prompt", "answer", "kept"),
    [
        (" foo" * 30, "good", (" foo" * 4, "good")),
        (" foo" * 30, " bar" * 30, ("", " bar" * 5)),
        ("foo", " bar" * 30, ("", " bar" * 5)),
        ("foo", " bar" * 5, ("", " bar" * 5)),
    ],
)
def test_a_row_that_is_too_long_keeps_the_header_of_the_answers_turn(prompt, answer, kept):
    tokens = learnt(chat_tokenizer("never"))
    header = len(tokens.encode("".join(HEADER), add_special_tokens=False))
    encoder = Encoder(tokens, 1 + 5 + header + 2, Form.CHAT)
    (row,) = encoder.rows([prompt], [answer])
    asked, said = tokens.decode(row.tokens[1 : row.second]), tokens.decode(row.tokens[row.second :])
    assert (asked.replace(" ", ""), said.replace(" ", "")) == (
        f"{kept[0]}{''.join(HEADER)}".replace(" ", ""),
        f"{kept[1]}<|im_end|>\n".replace(" ", ""),
    )
    assert row.truncated


def test_a_header_that_leaves_no_room_is_cut_before_the_answer_is_empty():
    (row,) = Encoder(learnt(chat_tokenizer("never")), 6, Form.CHAT).rows(["foo"], [" bar" * 30])
    assert (len(row), len(row) - row.second) == (6, 3)


def test_a_template_without_a_header_keeps_what_stands_there():
    tokens = learnt(chat_tokenizer("never"), "word: {prompt} foo {answer}")
    (row,) = Encoder(tokens, 7, Form.CHAT).rows(["bar"], [" bad" * 30])
    assert "foo" in tokens.decode(row.tokens[: row.second])


def test_a_policy_does_not_learn_to_say_what_the_template_puts_before_every_answer():
    thoughts = "<think>\\n\\n</think>\\n\\n"
    before = f"~ message['role'] ~ '\\n' ~ ('{thoughts}' if message['role'] == 'assistant' else '') ~"
    tokens = chat_tokenizer(template=CHATML.replace("~ message['role'] ~ '\\n' ~", before) + "\n")
    for _ in range(2):  # a policy that is stored, and loaded again
        take_template(tokens, None, writes=True)
        (found,) = encode_demonstrations(tokens, ["foo"], ["good"], prompt_tokens=999, answer_tokens=999)
        assert tokens.decode(found.answer).replace(" ", "") == "good<|im_end|>"
        assert list(found.prompt) == tokens.apply_chat_template(messages(("user", "foo")), add_generation_prompt=True, return_dict=False)
        assert tokens.decode(found.prompt).replace(" ", "").endswith("<think>\n\n</think>\n\n")


@pytest.mark.parametrize("answer", ["good", "foo</think>good"])
def test_a_policy_learns_behind_the_thoughts_that_a_template_begins_only_where_it_asks(answer):
    template = CHATML.replace("assistant\\n'", "assistant\\n<think>\\n'").replace("['content']", "['content'].split('</think>')[-1]")
    tokens = learnt(chat_tokenizer(template=template))
    (asked,) = encode_prompts(tokens, ["foo"], tokens=999)
    (found,) = encode_demonstrations(tokens, ["foo"], [answer], prompt_tokens=999, answer_tokens=999)
    assert found.prompt == asked.tokens
    assert tokens.decode(found.answer).replace(" ", "") == f"{answer}<|im_end|>"


def test_a_policy_is_asked_and_answers_as_the_template_has_it(tokens):
    prompt = render_prompt([Turn(*turn) for turn in TURNS])
    asked = tokens.apply_chat_template(messages(*TURNS), add_generation_prompt=True, return_dict=False)
    learnt(tokens)
    assert list(encode_prompts(tokens, [prompt], tokens=999)[0].tokens) == asked
    (one,) = encode_demonstrations(tokens, [prompt], ["good"], prompt_tokens=999, answer_tokens=99)
    whole = tokens.apply_chat_template(messages(*TURNS, ("assistant", "good")), return_dict=False)
    end = tokens.convert_tokens_to_ids("<|im_end|>")
    assert one.answer[-1] == chat_text_of(tokens).end == end
    assert [*one.prompt, *one.answer] == whole[: len(whole) - whole[::-1].index(end)], "the line break behind that is never written"


@pytest.mark.parametrize("text", ["{prompt}\n\n### {answer}", "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{answer}"])
def test_a_custom_text_becomes_the_chat_template(tokens, text):
    encoder = Encoder(learnt(tokens, text), 999, Form.CHAT)
    (row,) = encoder.rows(["foo bar"], ["good"])
    said = tokens.apply_chat_template(messages(("user", "foo bar"), ("assistant", "good")), tokenize=False)
    assert said == f"<s>{text.format(prompt='foo bar', answer='good')}</s>"
    assert row.tokens.tolist() == tokens(said, add_special_tokens=False)["input_ids"]
    asked = tokens.apply_chat_template(messages(("user", "foo bar")), tokenize=False, add_generation_prompt=True)
    assert list(encode_prompts(tokens, ["foo bar"], tokens=99)[0].tokens) == tokens(asked, add_special_tokens=False)["input_ids"]


def test_a_custom_text_shows_several_turns_as_the_reference_does():
    tokens = learnt(tokenizer("never"), "{prompt}\n{answer}")
    said = tokens.apply_chat_template(
        messages(("user", "foo"), ("assistant", "bar"), ("user", "bad"), ("assistant", "good")), tokenize=False
    )
    assert said == "<s>Human: foo\n\nAssistant: bar\n\nHuman: bad\ngood</s>"


def test_a_template_that_asks_for_the_date_always_gets_the_same():
    dated = "{%- if not day is defined %}{% set day = strftime_now('%d %b %Y') %}{% endif %}Today: {{ day }} " + CHATML
    tokens = learnt(chat_tokenizer(template=dated))
    assert tokens.apply_chat_template(messages(("user", "foo")), tokenize=False).startswith("Today: 26 Jul 2024 ")
    with pytest.raises(SpecError, match="asks for the date"):
        take_template(chat_tokenizer(template="{{ strftime_now(messages[0]['role']) }}" + CHATML), None)


@pytest.mark.parametrize("template", ["{% for %}", "{{ nowhere(messages) }}", "{{ raise_exception('no') }}", "{% include 'x' %}"])
def test_a_template_that_takes_no_dialogue_is_refused_for_itself(template):
    with pytest.raises(SpecError, match="takes no question with an answer") as told:
        take_template(chat_tokenizer(template=template), None)
    assert told.value.reason == "ModelNotSupported"


def test_a_dialogue_that_the_template_does_not_take_is_told():
    text = chat_text_of(learnt(chat_tokenizer(template=NO_SYSTEM)))
    with pytest.raises(DataError, match="turns system, user: System role not supported") as told:
        text.prompt(render_prompt([Turn("system", "good"), Turn("user", "foo")]))
    assert (told.value.reason, "reference or custom" in told.value.hint) == ("BadTurns", True)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "no chat template"),
        ("always the same", "does not render the question"),
        ("{{ messages[0]['content'] }}", "does not render the answer"),
        ("{% for message in messages | reverse %}{{ message['content'] }} {% endfor %}", "renders the answer before the question"),
        ("{{ range(1000) | random }}" + CHATML, "another text of the same dialogue each time"),
        ("{{ 'a' * 1000000 }}" + CHATML, "makes 1,000,0.. characters of two words"),
    ],
)
def test_a_tokenizer_whose_template_cannot_be_used_is_refused(template, why):
    with pytest.raises(SpecError, match=why):
        take_template(chat_tokenizer(template=template), None)
