"""LoRA adapters, of reward models and policies alike."""

from pydantic import Field

from ser_core.api.model import Model


class AdapterSpec(Model):
    """LoRA adapter. The exported model has it merged into the weights."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the update matrices."""
    alpha: int = Field(default=32, ge=1, le=2048)
    """Scale: the update is multiplied by alpha / rank."""
