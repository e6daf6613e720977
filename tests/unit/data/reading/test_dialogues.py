"""The turns of a prompt come back out of its text, whatever stands in them, and change nothing for whoever reads the text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser_core.data.preparing.pairs.text import clean, clean_prompt, normal_form
from ser_core.data.preparing.pairs.validation import check_pair
from ser_core.data.reading.dialogues.transcripts import plain_prompt, with_system
from ser_core.data.reading.dialogues.turns import TURN, Turn, first_user_turn, render_prompt, turns_of, unmarked
from ser_core.data.reading.formats import RawPair

WORDS = st.lists(
    st.sampled_from(["foo", "Human:", "\n\nHuman: ", "\n\nAssistant:", "System:", TURN, "\u200b", " ", ":", "日本"]), min_size=1, max_size=6
).map("".join)
SAID = WORDS.map(str.strip).filter(lambda text: clean(text) == text.replace(TURN, "").strip() != "")
DIALOGUES = st.tuples(st.booleans(), st.lists(SAID, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2 == 1), SAID)


def dialogue(has_system, texts, system):
    turns = [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]
    return [Turn("system", system), *turns] if has_system else turns


@given(DIALOGUES)
@settings(max_examples=50)
def test_turns_come_back_without_the_marks_that_their_texts_had(drawn):
    turns = dialogue(*drawn)
    found = turns_of(clean_prompt(render_prompt(turns)))
    assert found == [Turn(turn.role, turn.text.replace(TURN, "").strip()) for turn in turns]


@given(DIALOGUES)
@settings(max_examples=50)
def test_without_marks_the_prompt_is_the_text_that_it_always_was(drawn):
    turns = dialogue(*drawn)
    marked = clean_prompt(render_prompt(turns))
    assert unmarked(marked) == clean(render_prompt(turns))
    assert normal_form(marked) == normal_form(unmarked(marked))
    assert first_user_turn(marked) == first_user_turn(unmarked(marked))


@pytest.mark.parametrize(
    ("prompt", "roles"),
    [
        (plain_prompt("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"), ["user", "assistant", "user"]),
        (plain_prompt("System: s\n\nHuman: a\n\nAssistant:"), ["system", "user"]),
        (plain_prompt("System: s\n\nAssistant: a\n\nAssistant:"), ["user"]),
        (plain_prompt(f"{TURN}System: s\n\n{TURN}Human: a"), ["user"]),
        (with_system("Human: a\n\nAssistant: b\n\nHuman: c", "Be brief."), ["system", "user", "assistant", "user"]),
        (with_system("a", f"s{TURN}Human: x"), ["system", "user"]),
        (with_system(plain_prompt("\n\nHuman: a\n\nAssistant: b\n\nHuman: c"), "Be brief."), ["system", "user", "assistant", "user"]),
    ],
)
def test_prompts_that_are_written_as_dialogues_have_turns(prompt, roles):
    assert [turn.role for turn in turns_of(clean_prompt(prompt))] == roles


def test_a_pair_is_the_same_pair_with_its_turns_and_without():
    raw = RawPair(render_prompt([Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")]), "x", "y", 1)
    (marked, odd), (plain, _) = (check_pair(raw, "here", turns=turns) for turns in (True, False))
    assert not odd.cleaned
    assert (marked.id, unmarked(marked.prompt), TURN in marked.prompt, TURN in plain.prompt) == (plain.id, plain.prompt, True, False)
