"""In which text a decoder reads prompt and answer, as `rewardModel` and `policy` ask for it."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from ser_core.api.model import Model

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


class Templated(Model):
    """A part of the spec that has a template."""

    if TYPE_CHECKING:  # each part describes the two fields itself, in their place among its others
        template: TemplateKind
        template_text: TemplateText | None

    @property
    def custom_text(self) -> str | None:
        """The text of template `custom`; None with another one."""
        text = self.template_text
        return text if self.template == "custom" else None

    @model_validator(mode="after")
    def _text_of_the_template(self) -> Self:
        refuse_template(self.template, self.template_text)
        return self
