"""A long text has the ids of the whole, whatever the tokenizer, and costs little memory."""

import os
import random
import subprocess
import sys
from functools import partial

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from unit.learn.sentencepiece_like import tokenizer as sentencepiece_like

from ser_core.learn.text import long_texts
from ser_core.learn.text.control_tokens import ControlTokens
from ser_core.learn.text.long_texts import batches, token_ids
from ser_core.learn.text.reference_text import plain_ids

MEGABYTES = 300
ENCODE = """
import resource
from unit.learn.sentencepiece_like import tokenizer
from ser_core.learn.reward.encoding import Encoder
from ser_core.learn.text.reference_text import Form

encoder = Encoder(tokenizer("always"), 64, Form.ONE_TEXT)
encoder.rows(["foo"], ["bar"])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
long = "good word, bad foo\\n" * 320_000
((one, other),) = encoder.pairs(["word"], [long], [f"bar {long}"])
assert other.answer_tokens > one.answer_tokens > 1_500_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def byte_level():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator([text(0)], trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>")


def text(seed):
    drawn = random.Random(seed)
    words = [*("word", "good", "bad", "foo", "12", "007", "über", "日本", "。", "x" * 300, " " * 40, "\n\n", "it's", "</s>", "(a,b)")]
    return "".join(drawn.choice(words) + drawn.choice(("", " ", " ", "\n", ", ")) for _ in range(1500))


@pytest.fixture(params=["always", "first", "never", "bert", "bytes"])
def tokenizer(request, bert):
    if request.param == "bert":
        return AutoTokenizer.from_pretrained(bert)
    return byte_level() if request.param == "bytes" else sentencepiece_like(request.param)


@pytest.fixture
def in_pieces(monkeypatch):
    monkeypatch.setattr(long_texts, "_PIECE", 700)
    monkeypatch.setattr(long_texts, "_AROUND", 350)
    monkeypatch.setattr(long_texts, "_TOGETHER", 2000)


@pytest.mark.parametrize("guarded", [False, True])
def test_pieces_have_the_ids_of_the_whole_text(tokenizer, in_pieces, guarded):
    seen = []
    encode = ControlTokens(tokenizer).ids if guarded else partial(plain_ids, tokenizer)
    texts = [ControlTokens(tokenizer).guarded(text(seed)) if guarded else text(seed) for seed in range(5)] + ["", "short"]

    def watched(some):
        seen.extend(map(len, some))
        return encode(some)

    assert [ids.tolist() for ids in token_ids(watched, texts)] == encode(texts)
    assert max(seen) < max(map(len, texts)) / 2


@pytest.mark.parametrize("whole", ["x" * 3000, " " * 3000, ""])
def test_a_text_that_can_be_cut_nowhere_is_read_whole(tokenizer, in_pieces, whole):
    encode = partial(plain_ids, tokenizer)
    assert [ids.tolist() for ids in token_ids(encode, [whole])] == encode([whole])


def test_short_texts_are_read_together_and_a_long_one_alone():
    assert list(batches([10, 20, 2_000_000, 30, 40])) == [[0, 1], [2], [3, 4]]
    assert list(batches([])) == []


def test_a_row_of_6_mb_costs_little_memory():
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the code that this test imports
    ended = subprocess.run([sys.executable, "-c", ENCODE], env=paths, capture_output=True, text=True, check=True)
    assert float(ended.stdout) < MEGABYTES
