"""The one text that a decoder reads for a prompt and an answer, and the chat template that renders it for everybody else.

``Question: <prompt>\\n\\nAnswer: <answer>`` is the text of the method's released code. A stored model carries it as its tokenizer's chat
template, control tokens included. So whoever applies that template gets the token ids that the model learnt; the template of the base
would insert other roles, dates and system prompts. The template's first line says how the ids were made (`Form`).

This module imports no torch: the command line reads the first line of templates.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

from ser_core.api.spec.template import TemplateKind

_MADE = "{{#- Prompt and answer are tokenised as {form}, control tokens: {before} before, {after} after{between}. #}}\n"
_MADE_PATTERN = re.compile(
    r"\{#- Prompt and answer are tokenised as ([a-z ]+), control tokens: (\d+) before, (\d+) after(?:, (\d+) between)?\. -?#\}\n"
)
"""The line's end goes with the comment where templates are run (Jinja's ``trim_blocks``)."""
_TEMPLATE = """\
{%- set speakers = {'system': 'System', 'user': 'Human', 'assistant': 'Assistant'} -%}
{%- for message in messages -%}
    {%- if message['role'] not in speakers -%}{{- raise_exception('roles are system, user and assistant') -}}{%- endif -%}
    {%- if message['content'] is not string -%}{{- raise_exception('the content of a message is text') -}}{%- endif -%}
{%- endfor -%}
{%- set answered = messages[-1]['role'] == 'assistant' -%}
{%- set asked = messages[:-1] if answered else messages -%}
{{- BEFORE ~ OPENING -}}
{%- if asked | length == 1 -%}
    {{- asked[0]['content'] -}}
{%- else -%}
    {%- for message in asked -%}
        {{- ('' if loop.first else '\\n\\n') ~ speakers[message['role']] ~ ': ' ~ message['content'] -}}
    {%- endfor -%}
{%- endif -%}
{%- if answered or add_generation_prompt -%}{{- ASKING -}}{%- endif -%}
{%- if answered -%}
    {%- set answer = messages[-1]['content'] -%}
    {{- GAP ~ (answer[1:] if answer[:1] == ' ' else answer) ~ AFTER -}}
{%- endif -%}
"""
"""Turns before the answer are rendered as `ser_core.data.reading.dialogues` does. A policy begins its answers with the space itself."""
_PROBES = (("a", "b"), ("What's 12 + 7?\n\nHuman: Say", "It's 19.\n\nOr so"), ("Où?", "Là-bas, 日本 🙂"), ("", ""), ("a ", "\nb "))


class Form(StrEnum):
    """How prompt and answer become token ids."""

    ONE_TEXT = "one text of words"
    """They are tokenised together, and cut afterwards. Control tokens that stand in them are text (`control_tokens`)."""
    ONE_TEXT_WITH_CONTROL_TOKENS = "one text"
    """The same, but control tokens that stand in them count as such."""
    TWO_TEXTS = "two texts"
    """Each is tokenised alone, as up to version 0.1.0: tokenizers that put a space before every text then put one before the answer too."""
    CHAT = "one chat"
    """They are rendered by a chat template (`chat_text`), tokenised together, and cut afterwards."""


def form_of(template: TemplateKind) -> Form:
    """The form that a base learns with."""
    return Form.ONE_TEXT if template == "reference" else Form.CHAT


@dataclass(frozen=True, slots=True)
class Made:
    """What the first line of a template says."""

    form: Form
    before: int
    """Control tokens at the beginning of a row."""
    after: int
    """Control tokens at its end."""
    between: int = 0
    """Tokens between prompt and answer that stay whatever is cut."""


def made(template: Any) -> Made | None:
    """How the ids of a model were made, read off its tokenizer's chat template; None: the template is not from here."""
    found = _MADE_PATTERN.match(template) if isinstance(template, str) else None
    return Made(Form(found[1]), int(found[2]), int(found[3]), int(found[4] or 0)) if found else None


def record(how: Made) -> str:
    """The first line of a template, which renders nothing."""
    between = f", {how.between} between" if how.between else ""
    return _MADE.format(form=how.form, before=how.before, after=how.after, between=between)


def without_record(template: str) -> str:
    """A template without that line."""
    return _MADE_PATTERN.sub("", template, count=1) if _MADE_PATTERN.match(template) else template


def recorded_form(tokenizer: Any) -> Form:
    """The form that a stored model learnt with. Those of version 0.1.0 have no record."""
    found = made(tokenizer.chat_template)
    return Form.TWO_TEXTS if found is None else found.form


@dataclass(frozen=True, slots=True)
class ReferenceText:
    """The text of one model: with the control tokens of its tokenizer."""

    before: str
    gap: str
    after: str
    template: str
    """Chat template that renders it."""

    def prompt(self, prompt: str) -> str:
        """What stands before an answer."""
        return f"{self.before}{question(prompt)}"

    def whole(self, prompt: str, answer: str) -> str:
        """Prompt and answer. The space with which a policy begins its answer is the one that stands here already."""
        return f"{self.prompt(prompt)}{self.gap}{answer.removeprefix(' ')}{self.after}"


def question(prompt: str) -> str:
    """The text before an answer, without control tokens."""
    return f"Question: {prompt}\n\nAnswer:"


def plain_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, without any that the tokenizer adds."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
    return ids


def reference_text(tokenizer: Any, before: Sequence[int], after: Sequence[int], form: Form) -> ReferenceText | None:
    """The text whose ids are those of a form.

    Args:
        tokenizer: A transformers tokenizer.
        before: Control tokens at the beginning of a row.
        after: Control tokens at its end.
        form: How the ids are made.

    Returns:
        None when no text has these ids: a tokenizer that does not read its control tokens in texts, or a form that no single text has.
    """
    first, last = ("".join(tokenizer.convert_ids_to_tokens(list(ids))) for ids in (before, after))
    # Some tokenizers put a space before a text, but not before one that follows a control token.
    for lead, gap in product(("", " "), (" ", "  ") if form is Form.TWO_TEXTS else (" ",)):
        text = ReferenceText(first + lead, gap, last, _template(first + lead, gap, last, Made(form, len(before), len(after))))
        if all(_is_exact(tokenizer, text, prompt, answer, before, after, form) for prompt, answer in _PROBES):
            return text
    return None


def _is_exact(
    tokenizer: Any, text: ReferenceText, prompt: str, answer: str, before: Sequence[int], after: Sequence[int], form: Form
) -> bool:
    asked, whole, alone, answered = plain_ids(
        tokenizer, [text.prompt(prompt), text.whole(prompt, answer), question(prompt), f" {answer.removeprefix(' ')}"]
    )
    if form is Form.TWO_TEXTS:
        return whole == [*before, *alone, *answered, *after]
    ends = not after or whole[-len(after) :] == list(after)
    return asked == [*before, *alone] and whole[: len(before)] == list(before) and ends


def _template(before: str, gap: str, after: str, how: Made) -> str:
    return record(how) + made_template(before, gap, after, "Question: ", "\n\nAnswer:")


def made_template(before: str, gap: str, after: str, opening: str, asking: str) -> str:
    """The chat template of a text: ``before``, ``opening``, the prompt, ``asking``, ``gap``, the answer, ``after``."""
    texts = {"BEFORE": before, "GAP": gap, "AFTER": after, "OPENING": opening, "ASKING": asking}
    return re.sub("|".join(texts), lambda name: repr(texts[name[0]]), _TEMPLATE)
