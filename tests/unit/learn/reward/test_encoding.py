from pathlib import Path

import pytest
from transformers import AutoTokenizer

from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.encoding import Encoder, Row
from ser_core.learn.reward.reward_model import load
from ser_core.learn.text.reference_text import Form

PROMPT, ANSWER = "w1 w2 w3 w4 w5 w6", "w7 w8 w9"


@pytest.fixture(scope="module")
def tokenizer(bert: Path):
    return AutoTokenizer.from_pretrained(bert)


def words(tokenizer, row: Row) -> list[str]:
    return tokenizer.convert_ids_to_tokens(row.tokens.tolist())


def test_an_encoder_model_reads_prompt_and_answer_as_a_text_pair(tokenizer):
    row = Encoder(tokenizer, 64, Form.ONE_TEXT).rows([PROMPT], [ANSWER])[0]
    expected = tokenizer(PROMPT, ANSWER)
    assert row.tokens.tolist() == expected["input_ids"]
    assert [int(position >= row.second) for position in range(len(row))] == expected["token_type_ids"]
    assert (row.answer_tokens, row.truncated) == (3, False)


def test_a_decoder_reads_the_template_and_the_end_of_sequence_token(qwen: Path, fp32: Precision):
    model = load(qwen, fp32, max_length=90)
    row = model.encoder.rows(["w1?"], ["w2."])[0]
    assert row.tokens.tolist() == model.tokenizer("Question: w1?\n\nAnswer: w2.<|endoftext|>")["input_ids"]


def test_a_bos_token_comes_first_and_survives_truncation(qwen: Path, fp32: Precision):
    from tokenizers import processors

    tokenizer = load(qwen, fp32, max_length=90).tokenizer
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    bos = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    row = Encoder(tokenizer, 10, Form.ONE_TEXT).rows(["w1?"], ["w2."])[0]
    assert (row.tokens[0], row.tokens[-1], len(row)) == (bos, tokenizer.eos_token_id, 10)


def test_a_long_row_loses_the_beginning_of_its_prompt(tokenizer):
    row = Encoder(tokenizer, 9, Form.ONE_TEXT).rows([PROMPT], [ANSWER])[0]
    assert words(tokenizer, row) == ["[CLS]", "w4", "w5", "w6", "[SEP]", "w7", "w8", "w9", "[SEP]"]
    assert row.second == 5
    assert row.truncated


def test_only_an_answer_too_long_alone_loses_its_end(tokenizer):
    row = Encoder(tokenizer, 5, Form.ONE_TEXT).rows([PROMPT], [ANSWER])[0]
    assert words(tokenizer, row) == ["[CLS]", "[SEP]", "w7", "w8", "[SEP]"]
    assert (row.answer_tokens, row.truncated) == (3, True)


def test_a_row_that_fits_exactly_is_not_truncated(tokenizer):
    row = Encoder(tokenizer, 12, Form.ONE_TEXT).rows([PROMPT], [ANSWER])[0]
    assert (len(row), row.truncated) == (12, False)


def test_empty_prompts_and_answers_are_rows_too(tokenizer):
    assert [words(tokenizer, row) for row in Encoder(tokenizer, 12, Form.ONE_TEXT).rows(["", "w1"], ["w2", ""])] == [
        ["[CLS]", "[SEP]", "w2", "[SEP]"],
        ["[CLS]", "w1", "[SEP]", "[SEP]"],
    ]


def test_the_rows_of_a_pair_are_those_of_its_answers_alone(tokenizer):
    encoder = Encoder(tokenizer, 9, Form.ONE_TEXT)
    first, second = encoder.pairs([PROMPT], [ANSWER], ["w1"])[0]
    assert words(tokenizer, first) == words(tokenizer, encoder.rows([PROMPT], [ANSWER])[0])
    assert words(tokenizer, second) == words(tokenizer, encoder.rows([PROMPT], ["w1"])[0])


def test_rows_stay_below_the_positions_of_the_model(bert: Path, fp32: Precision):
    row = load(bert, fp32, max_length=1024).encoder.rows(["w1 " * 200], ["w2"])[0]
    assert len(row) == 63  # of 64, one is left for padding
