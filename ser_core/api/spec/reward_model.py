"""The reward model that is evolved."""

from typing import Literal

from pydantic import Field

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.template import Templated, TemplateKind, TemplateText
from ser_core.api.values.uris import ModelUri


class RewardModelSpec(Templated):
    """The model that is evolved."""

    base: ModelUri
    """Model to start from: `hf://organisation/name`, `s3://bucket/prefix`, or `file://` (only `ser run`). Safetensors only."""
    revision: str | None = Field(default=None, min_length=1, max_length=200)
    """Branch, tag or commit on the hub. `prepare` resolves it to a commit, and every later stage reads the copy in the store."""
    max_length: int = Field(default=1024, ge=16, le=131072)
    """Tokens of prompt and answer together. Longer pairs lose the beginning of the prompt first, and are counted."""
    adapter: AdapterSpec | None = None
    """LoRA settings; null trains all weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the trunk; the score head is always fp32. `auto`: bf16 on GPUs that have it and on CPUs with avx512_bf16 or
    amx_bf16, else fp32."""
    template: TemplateKind = "reference"
    """The text in which a decoder reads prompt and answer. `reference`: `Question: … Answer: …`, as the paper's code has it. `chat`: by the
    chat template of the base's tokenizer, system and earlier turns included. `custom`: `templateText`. Encoders read text pairs, and take
    `reference` alone."""
    template_text: TemplateText | None = None
    """The text of template `custom`: any text with `{prompt}` in it and `{answer}` at its end. The tokenizer's begin and end tokens are put
    around it. A prompt of several turns stands there as `Human: … Assistant: … Human: …`."""
