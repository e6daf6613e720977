"""Odd rows of preferences in each layout, with what is meant by them: the oracle of what `prepare` may make of a file."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

_MARKS = (*"\x85\t\r\"',\\{]#;\u2028\u2029", "\r\n", '""', "\\n", "[{", "null", "NaN", "1e999", "<|im_end|>", "</s>", "{{x}}")
_LETTERS = (*"\x01\x0b\x7f\u200d\ufeff\u200b\u2060\u202e é ﬁ İ ß 😀 \U0010ffff ﷺ 日本", "e\u0301", "مرحبا", "\n", "\n\n")
_ROLES = ("\n\nHuman: x", "\n\nAssistant: x", "\n\nSystem: x", "Human:")
_ODD: tuple[Any, ...] = (
    *(
        None,
        "",
        " ",
        "\u200b",
        "\x00",
        "\ud800",
        "[]",
        "{}",
        "null",
        "nan",
        "tie",
        "1",
        "2",
        "a",
        "B",
        True,
        False,
        [],
        {},
        [None],
        [""],
        [[]],
    ),
    *(0, 1, 2, 3, -1, 1.0, 1.5, -0.0, 1e308, 2**53 + 1, 2**63, 10**30, math.nan, math.inf, ["a", "b"], {"a": {"b": [1]}}, {"messages": []}),
    *(
        {"role": "user"},
        [{"role": "user", "content": None}],
        [{"role": "robot", "content": "x"}],
        [{"role": "assistant", "content": ["x"]}],
    ),
    *([{"role": "assistant", "content": "x", "tool_calls": [1]}], [{"content": "x"}], [{"from": "gpt", "value": "x"}], {"text": "x"}),
    *('[{"role": "user", "content": "x"}]', "[{'role': 'assistant', 'content': 'x'}", '{"role": "assistant", "content": "x"}'),
)

_texts = st.lists(
    st.sampled_from((*_MARKS, *_LETTERS)) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
    max_size=5,
)
_turns = st.lists(st.sampled_from((*_MARKS, *_LETTERS, *_ROLES)), max_size=5)


@dataclass(frozen=True)
class Meant:
    """A row, and the pair that is meant by it."""

    turns: tuple[str, ...]
    """Of the prompt; the user's first."""
    chosen: str
    rejected: str
    flip: bool
    """Whether the worse answer stands first, where a layout has an order."""

    @property
    def prompt(self) -> str:
        """As docs/data-formats.md says."""
        return self.turns[0] if len(self.turns) == 1 else "\n\n".join(f"{_speaker(n)}: {text.strip()}" for n, text in enumerate(self.turns))


def _speaker(number: int) -> str:
    return "Assistant" if number % 2 else "Human"


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def _messages(meant: Meant, *answer: str) -> list[dict[str, Any]]:
    return [_message("assistant" if number % 2 else "user", text) for number, text in enumerate((*meant.turns, *answer))]


def _hh(meant: Meant, answer: str) -> str:
    return "".join(f"\n\n{_speaker(number)}: {text}" for number, text in enumerate((*meant.turns, answer)))


def _ordered(meant: Meant, first: str, second: str, label: str, labels: tuple[Any, Any]) -> dict[str, Any]:
    one, other = (meant.rejected, meant.chosen) if meant.flip else (meant.chosen, meant.rejected)
    return {first: one, second: other, label: labels[meant.flip]}


def _answer(text: str) -> list[dict[str, Any]]:
    return [_message("assistant", text)]


LAYOUTS = {
    "explicit": lambda m: {"prompt": m.prompt, "chosen": m.chosen, "rejected": m.rejected},
    "question": lambda m: {"question": m.prompt, "chosen": m.chosen, "rejected": m.rejected},
    "messages": lambda m: {"prompt": _messages(m), "chosen": _answer(m.chosen), "rejected": _answer(m.rejected)},
    "whole dialogues": lambda m: {"chosen": _messages(m, m.chosen), "rejected": _messages(m, m.rejected)},
    "as JSON": lambda m: {
        "prompt": json.dumps(_messages(m)),
        "chosen": json.dumps(_answer(m.chosen)),
        "rejected": json.dumps(_answer(m.rejected)),
    },
    "as Python": lambda m: {"chosen": repr(_messages(m, m.chosen)), "rejected": repr(_messages(m, m.rejected))},
    "hh": lambda m: {"chosen": _hh(m, m.chosen), "rejected": _hh(m, m.rejected)},
    "common beginning": lambda m: {"chosen": f"{m.prompt} {m.chosen}", "rejected": f"{m.prompt} {m.rejected}"},
    "labelled": lambda m: {"prompt": m.prompt, **_ordered(m, "answer_1", "answer_2", "better", (1, 2))},
    "SHP": lambda m: {"history": m.prompt, **_ordered(m, "human_ref_A", "human_ref_B", "labels", (1, 0))},
    "PKU": lambda m: {"prompt": m.prompt, **_ordered(m, "response_0", "response_1", "better_response_id", (0, 1))},
    "arena": lambda m: {"prompt": m.prompt, **_ordered(m, "response_a", "response_b", "winner", ("model_a", "model_b"))},
    "HelpSteer3": lambda m: {"context": _messages(m), **_ordered(m, "response1", "response2", "overall_preference", (-2, 2))},
    "OpenAI": lambda m: {
        **{"input": {"messages": _messages(m)}, "preferred_output": _answer(m.chosen), "non_preferred_output": _answer(m.rejected)}
    },
    "Nectar": lambda m: {"prompt": m.prompt, "answers": [{"answer": m.chosen, "rank": 1.0}, {"answer": m.rejected, "rank": 2.0}]},
}
"""A row of each layout."""
_WITHOUT_TURNS = {"explicit", "question", "common beginning", "labelled", "SHP", "PKU", "arena", "Nectar"}
_WITHOUT_BREAKS = {"hh"}


def better_by(column: str, value: Any) -> int | None:
    """Which answer a label of such a column means: 1, 2 or 0 for a tie; None where it means none."""
    text = "" if isinstance(value, bool) else str(value).strip().casefold()
    try:
        number = float(text)
    except ValueError:
        return {"a": 1, "b": 2, "model_a": 1, "model_b": 2, "tie": 0}.get(text) if column in ("better", "winner") else None
    if column == "overall_preference":
        return 0 if number == 0 else 1 if number < 0 else 2
    return {"labels": {1: 1, 0: 2}, "better_response_id": {0: 1, 1: 2}}.get(column, {1: 1, 2: 2}).get(number)


@st.composite
def meant_rows(draw: st.DrawFn, layout: str) -> list[Meant]:
    """Some pairs; the number of each stands in all its texts."""
    found = []
    for number in range(draw(st.integers(16, 20))):
        count = 1 if layout in _WITHOUT_TURNS else draw(st.sampled_from([1, 1, 3, 5]))
        pieces = _texts if layout in (*_WITHOUT_TURNS, *_WITHOUT_BREAKS) else _turns
        texts = ["".join(draw(pieces)) for _ in range(count + 2)] if draw(st.booleans()) else [""] * (count + 2)
        if layout in _WITHOUT_BREAKS:
            texts = [re.sub("\n+", "\n", text) for text in texts]
        *turns, chosen, rejected = texts
        answers = (f"right {number} is {chosen}", f"wrong {number} is {rejected}")
        found.append(Meant(tuple(f"question {number} is {text}" for text in turns), *answers, bool(number % 2)))
    return found


@st.composite
def odd_values(draw: st.DrawFn, row: Mapping[str, Any]) -> tuple[str, Any]:
    """One of its columns, and another value for it; ``...`` for none at all."""
    return draw(st.sampled_from(sorted(row))), draw(st.sampled_from((*_ODD, ...)))
