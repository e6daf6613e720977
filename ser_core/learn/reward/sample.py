"""A few pairs as the reward model will read them: how many are cut, and one of them with the cuts marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ser_core.data.reading.dialogues.turns import TURN
from ser_core.learn.reward.encoding import Encoder, Row
from ser_core.learn.text.chat_text import chat_text_of
from ser_core.learn.text.reference_text import Form

_NO_LIMIT = 1 << 30
_MOST_CHARACTERS = 100_000
"""Of a text that is looked at, or twenty for each token that a row may have: to tokenise 16 MB takes half a minute and 6 GB."""


@dataclass(frozen=True, slots=True)
class TextPair:
    """A prompt with its better and its worse answer; of an unlabelled pair the order is arbitrary."""

    prompt: str
    better: str
    worse: str


@dataclass(frozen=True, slots=True)
class Part:
    """What is left of a text, and how many tokens it loses."""

    text: str
    lost: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What was looked at. The pair that is shown is the one that loses most tokens."""

    pairs: int
    cut: int
    """Pairs of which at least one row loses tokens."""
    alike: int
    """Pairs whose two answers are the same tokens, before anything is cut."""
    alike_when_cut: int
    """Those, and pairs of which all that differs is cut."""
    changed: int
    """Pairs of which the chat template renders an answer otherwise than it stands, or only a part of it."""
    unknown: float
    """Share of the tokens that stand for text that the tokenizer does not know."""
    shown: int
    """Position of the pair that is shown."""
    prompt: Part
    better: Part
    worse: Part


def read_sample(pairs: Sequence[TextPair], tokenizer: Any, max_length: int, form: Form) -> Sample:
    """Encode pairs as the stages do.

    Args:
        pairs: At least one.
        tokenizer: A transformers tokenizer.
        max_length: Tokens that a row may have.
        form: How rows are made.

    Raises:
        DataError: ``BadTurns``: the chat template does not take one of the prompts.
    """
    most = max(_MOST_CHARACTERS, 20 * max_length)
    prompts = [pair.prompt if TURN in pair.prompt else pair.prompt[-most:] for pair in pairs]
    texts = prompts, [pair.better[:most] for pair in pairs], [pair.worse[:most] for pair in pairs]
    kept = Encoder(tokenizer, max_length, form).pairs(*texts)
    whole = Encoder(tokenizer, _NO_LIMIT, form).pairs(*texts)
    lost = [sum(len(long) - len(short) for short, long in zip(*two, strict=True)) for two in zip(kept, whole, strict=True)]
    shown = lost.index(max(lost))
    (better, worse), (whole_better, whole_worse) = kept[shown], whole[shown]
    return Sample(
        pairs=len(pairs),
        cut=sum(number > 0 for number in lost),
        alike=_alike(whole),
        alike_when_cut=_alike(kept),
        changed=_changed(tokenizer, *texts),
        unknown=_unknown(tokenizer, [row for two in whole for row in two]),
        shown=shown,
        prompt=_prompt(tokenizer, better, whole_better),
        better=_answer(tokenizer, better, whole_better),
        worse=_answer(tokenizer, worse, whole_worse),
    )


def _alike(pairs: Sequence[tuple[Row, Row]]) -> int:
    return sum(one.tokens.tolist() == other.tokens.tolist() for one, other in pairs)


def _changed(tokenizer: Any, prompts: Sequence[str], *answers: Sequence[str]) -> int:
    chat = chat_text_of(tokenizer)
    if chat is None:
        return 0
    rows = zip(prompts, zip(*answers, strict=True), strict=True)
    return sum(any(said.strip() not in chat.whole(prompt, said) for said in both) for prompt, both in rows)


def _unknown(tokenizer: Any, rows: Sequence[Row]) -> float:
    found: int = sum(row.tokens.tolist().count(tokenizer.unk_token_id) for row in rows)
    return found / sum(map(len, rows))


def _prompt(tokenizer: Any, kept: Row, whole: Row) -> Part:
    return Part(tokenizer.decode(kept.tokens[: kept.second]), whole.second - kept.second)


def _answer(tokenizer: Any, kept: Row, whole: Row) -> Part:
    return Part(tokenizer.decode(kept.tokens[kept.second :]), (len(whole) - whole.second) - (len(kept) - kept.second))
