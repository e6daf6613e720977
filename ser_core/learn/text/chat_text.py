"""The text of a chat template: the one of a tokenizer (`template: chat`), or one that is made of `templateText` (`template: custom`).

The rendered text says everything, control tokens included; nothing is added to it. A stored model keeps the template that it learnt with,
behind a first line that says so (`reference_text.Made`). Templates come from strangers: transformers runs them in Jinja's sandbox, and
`ser_core.learn.base_models.harm` runs one for the first time within limits of time and memory.

A template that asks for the date (`strftime_now`) gets a fixed one, written into it: else a model would read another text every day.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from ser_core.api.spec.template import ANSWER, PROMPT
from ser_core.data.reading.dialogues.turns import Turn, turns_of
from ser_core.errors import DataError, SpecError
from ser_core.learn.text.control_tokens import control_tokens
from ser_core.learn.text.reference_text import Form, Made, made, made_template, plain_ids, record, without_record

DAY = datetime(2024, 7, 26)
"""What a template takes for today; it is Llama 3's own where nobody says the date."""
_NOW = re.compile(r"""strftime_now\(\s*(["'])((?:(?!\1)[^\\])*)\1\s*\)""")
_QUESTION, _ANSWER = "zebra", "giraffe"
_OTHER_QUESTION = "apple 2"
_TIMES = 8
"""A template that draws a number is found out with so many renderings, almost always."""
_LEAVE_OUT = "leave out what it does not take, such as system messages; or set template to reference or custom, which take all"
_MOST_CHARACTERS = 200_000
"""Length of what a template may make of two words."""
_FAULTS = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What a template can raise while it renders."""


class ChatText:
    """Prompts and answers as a tokenizer's chat template renders them.

    Args:
        tokenizer: A transformers tokenizer with a chat template.

    Raises:
        SpecError: ``ModelNotSupported``: it has none, or none that can be used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._own = _template_of(tokenizer)
        probe = f"{_QUESTION} 1"
        try:
            asked, whole = self.prompt(probe), self.whole(probe, _ANSWER)
        except DataError as error:
            raise _refused(f"its chat template takes no question with an answer: {error.message.partition(': ')[2]}") from error
        for part, text, where in (("question", _QUESTION, asked), ("question", _QUESTION, whole), ("answer", _ANSWER, whole)):
            if text not in where:
                raise _refused(f"its chat template does not render the {part}")
        if whole.rindex(_QUESTION) > whole.rindex(_ANSWER):
            raise _refused("its chat template renders the answer before the question")
        if len({whole, *(self.whole(probe, _ANSWER) for _ in range(_TIMES))}) > 1:
            raise _refused("its chat template makes another text of the same dialogue each time")
        if len(whole) > _MOST_CHARACTERS:
            raise _refused(f"its chat template makes {len(whole):,} characters of two words")
        begun = whole[len(asked) : whole.rindex(_ANSWER)] if whole.startswith(asked) else ""
        self.opening = begun if begun.strip() else ""
        """What it puts before every answer, and not behind a question: Qwen3's empty thoughts; spaces alone are the answer's."""
        self._closing = whole.rpartition(_ANSWER)[2]
        ids, ending = plain_ids(tokenizer, [whole, self._closing])
        self.before = tuple(ids[: int(ids[0] == tokenizer.bos_token_id)])
        """The token that begins a row, which stays when the prompt is cut."""
        length = next(length for length in range(len(ending), -1, -1) if ids[len(ids) - length :] == ending[len(ending) - length :])
        self.after = tuple(ids[len(ids) - length :])
        """Tokens behind the answer."""
        asked_ids, other_ids = plain_ids(tokenizer, [asked, self.prompt(_OTHER_QUESTION)])
        learnt = made(tokenizer.chat_template)
        self.between = common_ending(asked_ids, other_ids) if learnt is None or learnt.form is not Form.CHAT else learnt.between
        """Number of tokens between a prompt's text and an answer: the end of its turn, and the header of the answer's."""
        control = {one.number for one in control_tokens(tokenizer).values()}
        self.end: int | None = self.after[0] if self.after and self.after[0] in control else None
        """The control token that ends an answer; None: the template has none there."""
        self.template = record(Made(Form.CHAT, len(self.before), len(self.after), self.between)) + self._own

    def prompt(self, prompt: str) -> str:
        """What stands before an answer to a rendered prompt (`ser_core.data.reading.dialogues`)."""
        return self._render(turns_of(prompt), asks=True)

    def whole(self, prompt: str, answer: str) -> str:
        """Prompt and answer."""
        return self._render([*turns_of(prompt), Turn("assistant", answer.removeprefix(" "))], asks=False)

    def demonstration(self, prompt: str, answer: str) -> str:
        """Prompt and answer for what is to write the answer behind `prompt`. A template may ask with a begin of thoughts that a dialogue
        with an answer lacks (DeepSeek-R1, QwQ): what is learnt without it would be of no use where it is asked."""
        asked, whole = self.prompt(prompt), self.whole(prompt, answer)
        return whole if whole.startswith(asked) else asked + answer.removeprefix(" ") + self._closing

    def _render(self, turns: Sequence[Turn], *, asks: bool) -> str:
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text: str = self._tokenizer.apply_chat_template(messages, chat_template=self._own, tokenize=False, add_generation_prompt=asks)
        except _FAULTS as error:
            roles = ", ".join(turn.role for turn in turns[:8])
            raise DataError(
                f"the chat template does not take a dialogue of the turns {roles}: {str(error)[:200]}",
                reason="BadTurns",
                hint=_LEAVE_OUT,
            ) from error
        return text

    def refuse_what_it_leaves_out(self, prompt: str) -> None:
        """Refuse a prompt with a turn of which the template says nothing, such as a system message.

        Raises:
            DataError: ``BadTurns``.
        """
        probe = [Turn(turn.role, f"{_QUESTION} {number}.") for number, turn in enumerate(turns_of(prompt))]
        text = self._render(probe, asks=True)
        lost = next((turn.role for turn in probe if turn.text not in text), None)
        if lost is not None:
            roles = ", ".join(turn.role for turn in probe[:8])
            message = f"the chat template leaves a turn of the {lost} out of a dialogue of the turns {roles}"
            raise DataError(message, reason="BadTurns", hint=_LEAVE_OUT)


def common_ending(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of ids with which both end."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((length for length, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def chat_text_of(tokenizer: Any) -> ChatText | None:
    """The text of a tokenizer that has learnt with a chat template, or is to do so (`take_template`); None for all others."""
    found = made(tokenizer.chat_template)
    return ChatText(tokenizer) if found is not None and found.form is Form.CHAT else None


def take_template(tokenizer: Any, text: str | None, *, writes: bool = False) -> None:
    """Let a base's tokenizer learn with its own chat template, or with a `templateText`.

    Args:
        tokenizer: Of the base.
        text: The ``templateText``; None: its own template.
        writes: Whether the base is to write answers: what the template puts before every answer is then asked, and not learnt to be said.

    Raises:
        SpecError: ``ModelNotSupported``: there is no chat template, or none that can be used.
    """
    if text is not None:
        tokenizer.chat_template = _made_of(tokenizer, text)
    found = ChatText(tokenizer)
    asking = f"{{{{ {found.opening!r} if add_generation_prompt else '' }}}}" if writes and found.opening else ""
    tokenizer.chat_template = (found.template.removesuffix("\n") if asking else found.template) + asking


def _template_of(tokenizer: Any) -> str:
    """The chat template of a tokenizer, with a fixed date."""
    own = tokenizer.chat_template
    found = own.get("default") if isinstance(own, dict) else own
    if not found:
        raise _refused("its tokenizer has no chat template")
    fixed = _NOW.sub(lambda call: repr(DAY.strftime(call[2])), without_record(found))
    if re.search(r"strftime_now\s*\(", fixed):
        raise _refused("its chat template asks for the date in a form that is not known beforehand")
    return fixed


def writes_its_begin(tokenizer: Any) -> bool:
    """Whether a tokenizer sets its begin token in front of a text by itself."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id


def _made_of(tokenizer: Any, text: str) -> str:
    """A chat template that renders a ``templateText``, between the tokenizer's begin and end tokens."""
    opening, _, asking = text.removesuffix(ANSWER).partition(PROMPT)
    before = tokenizer.bos_token if writes_its_begin(tokenizer) and not opening.startswith(tokenizer.bos_token) else ""
    gap = " " if asking.endswith(" ") else ""
    return made_template(before, gap, tokenizer.eos_token or "", opening, asking.removesuffix(gap))


def _refused(what: str) -> SpecError:
    return SpecError(
        what,
        reason="ModelNotSupported",
        hint="name a model whose tokenizer has one that can be used; or set template to reference, or to custom with a templateText",
    )
