"""A sample of pairs is read as the stages read it."""

import pytest
from transformers import AutoTokenizer
from unit.learn.text.test_chat_text import CHATML, chat_tokenizer

from ser_core.learn.reward.encoding import Encoder
from ser_core.learn.reward.sample import TextPair, read_sample
from ser_core.learn.text.chat_text import take_template
from ser_core.learn.text.reference_text import Form


@pytest.fixture(scope="module")
def tokenizer(small_model):
    return AutoTokenizer.from_pretrained(small_model)


def test_cut_pairs_are_counted_and_the_longest_is_shown(tokenizer):
    pairs = [TextPair("a b", "c", "d"), TextPair("a b " * 30, "c", "d " * 40), TextPair("a", "b", "c " * 20)]
    found = read_sample(pairs, tokenizer, 16, Form.ONE_TEXT)
    rows = Encoder(tokenizer, 16, Form.ONE_TEXT).pairs(*([getattr(pair, name) for pair in pairs] for name in ("prompt", "better", "worse")))
    assert (found.pairs, found.cut) == (3, sum(one.truncated or other.truncated for one, other in rows)) == (3, 2)
    assert found.better.lost == 0
    assert found.prompt.lost > 0
    assert found.worse.lost > 0


def test_what_is_shown_is_what_the_model_reads(tokenizer):
    found = read_sample([TextPair("a b", "c d", "e")], tokenizer, 64, Form.ONE_TEXT)
    (row,) = Encoder(tokenizer, 64, Form.ONE_TEXT).rows(["a b"], ["c d"])
    assert f"{found.prompt.text} {found.better.text}" == tokenizer.decode(row.tokens)
    assert (found.cut, found.prompt.lost, found.better.lost, found.worse.lost) == (0, 0, 0, 0)


def test_text_that_the_tokenizer_does_not_know_is_counted(tokenizer):
    assert read_sample([TextPair("good", "good", "bad")], tokenizer, 64, Form.ONE_TEXT).unknown == 0
    found = read_sample([TextPair("ж", "ъ", "ю"), TextPair("good", "good", "bad")], tokenizer, 64, Form.ONE_TEXT)
    assert (0 < found.unknown < 1, found.alike) == (True, 1)


def test_answers_of_which_all_that_differs_is_cut_are_counted(tokenizer):
    pairs = [TextPair("good", f"{'good ' * 40} good", f"{'good ' * 40} bad"), TextPair("good", "good", "bad")]
    found = read_sample(pairs, tokenizer, 16, Form.ONE_TEXT)
    assert (found.alike, found.alike_when_cut) == (0, 1)


def test_of_a_text_of_megabytes_only_what_is_needed_is_tokenised(tokenizer):
    found = read_sample([TextPair("question " * 10**6, "good " * 10**6, "bad")], tokenizer, 64, Form.ONE_TEXT)
    assert (found.cut, found.prompt.lost + found.better.lost > 20_000, found.better.lost < 100_000) == (1, True, True)


def test_answers_that_a_chat_template_does_not_render_whole_are_counted():
    thinking = chat_tokenizer(template=CHATML.replace("message['content']", "message['content'].split('bar')[-1]"))
    take_template(thinking, None)
    pairs = [TextPair("foo", "good", "bad"), TextPair("foo", "good bar word", "bad")]
    assert read_sample(pairs, thinking, 64, Form.CHAT).changed == 1
