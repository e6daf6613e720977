"""What is written of a pair is read as that pair, whatever its texts look like."""

import json

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st
from odd.serruns import some

from ser_core.data.preparing.pairs.validation import check_pair
from ser_core.data.preparing.pairs.written import written
from ser_core.data.reading.dialogues.turns import TURN, turns_of
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import Form, to_pair

QUESTION, ANSWER = '[{"role": "user", "content": "q"}]', '[{"role": "assistant", "content": "a"}]'
TRANSCRIPT = "Human: who?\n\nAssistant: me"
PIECES = st.sampled_from(
    [QUESTION, ANSWER, TRANSCRIPT, "Human:", "\n\nHuman: b", "\n\nAssistant:", "\n\nSystem: s", '"[{', "}]", " ", "日"]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=4).map("".join) | st.text(max_size=5)


def messages(*texts):
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def answer(text):
    return [{"role": "assistant", "content": text}]


def stored(row, *, turns=True):
    """The pair that `prepare` keeps of a row."""
    return check_pair(to_pair(row, Form.UNLABELED_ANSWERS), "here", turns=turns)[0]


def usable(row, *, turns):
    """The same, of odd texts; others are tried in place of those that make no pair."""
    try:
        return stored(row, turns=turns)
    except RowError:
        reject()


def again(pair, *, turns=True):
    row = written(pair.prompt, {"answer_1": pair.answer_1, "answer_2": pair.answer_2})
    return stored(json.loads(json.dumps(row, ensure_ascii=False)), turns=turns)


@some(200)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(TEXTS, min_size=2, max_size=2), st.booleans())
@example(["q"], [QUESTION, ANSWER], True)
@example([QUESTION], ["x", "y"], False)
@example([f"What is meant by {TRANSCRIPT}"], ["x", "y"], True)
@example([f"{TRANSCRIPT}\n\nAssistant:"], ["x", "y"], True)
@example([f"{TRANSCRIPT}\n\nAssistant:", "b", QUESTION], [f"{TRANSCRIPT} x", ANSWER], True)
def test_a_row_is_read_as_the_pair_that_was_written(prompts, answers, turns):
    pair = usable({"prompt": messages(*prompts), "answer_1": answer(answers[0]), "answer_2": answer(answers[1])}, turns=turns)
    found = again(pair, turns=turns)
    assert (found.id, found.answer_1, found.answer_2) == (pair.id, pair.answer_1, pair.answer_2)
    assert turns_of(found.prompt) == turns_of(pair.prompt)


@some(200)
@given(TEXTS, TEXTS, TEXTS, st.booleans())
@example("\n\nSystem:be brief\n\nHuman: a\n\nAssistant:", "x", "y", True)
def test_so_is_a_pair_that_was_read_from_text(prompt, one, other, turns):
    pair = usable({"prompt": prompt, "answer_1": one, "answer_2": other, "system": "Be brief."}, turns=turns)
    assert again(pair, turns=turns).id == pair.id


@pytest.mark.parametrize("prompt", ["a", TRANSCRIPT, f"{TURN}Human: a\n\n{TURN}Assistant: b\n\n{TURN}Human: c"])
def test_answers_are_plain_text_where_that_is_read_right(prompt):
    row = written(prompt, {"chosen": "x", "rejected": "y"})
    assert row == {"prompt": messages("a", "b", "c") if TURN in prompt else prompt, "chosen": "x", "rejected": "y"}
