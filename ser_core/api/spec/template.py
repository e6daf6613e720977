"""In which text a decoder reads prompt and answer, as `rewardModel` and `policy` ask for it."""

from typing import Annotated, Literal

from pydantic import Field

TemplateKind = Literal["reference", "chat", "custom"]
PROMPT, ANSWER = "{prompt}", "{answer}"
MISSING = "template custom needs templateText: a text with {prompt} in it and {answer} at its end"
MISPLACED = "templateText must hold {prompt} once and end with {answer}, which stands there once"
TemplateText = Annotated[str, Field(min_length=len(PROMPT + ANSWER), max_length=10_000)]


def refuse_template(kind: TemplateKind, text: str | None) -> None:
    """Refuse a template without its text, and a text that does not say where prompt and answer stand.

    Raises:
        ValueError: With what to write.
    """
    if kind == "custom" and text is None:
        raise ValueError(MISSING)
    if text is not None and not (text.endswith(ANSWER) and text.count(PROMPT) == text.count(ANSWER) == 1):
        raise ValueError(MISPLACED)
