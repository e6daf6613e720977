"""Bytes that a model keeps for its backward pass.

Counted from the tensors that autograd keeps of transformers' models (tests/unit/memory counts them again). For each token a layer keeps
``hidden * h + attention * a + intermediate * i`` bytes, where h, a and i are the model's widths, and the mask of its row, a number for each
token. Kinds of models whose attention no fused kernel computes keep ``matrix`` bytes for each head and each token of the row in its place;
those that compare places keep ``places`` bytes for each head. In a mixture of experts each expert that computes a token keeps
``7 * h + experts * e`` bytes more, where e is an expert's inner width.
"""

from dataclasses import dataclass

from ser_core.memory.shape import ModelShape


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes for each unit of a width, token and layer."""

    hidden: float
    attention: float
    intermediate: float
    matrix: float = 0
    places: float = 0
    experts: float = 16.5


_GATED = Kept(26, 8, 8), Kept(25, 16, 16)
_PLAIN = Kept(17, 8, 4), Kept(17, 16, 8)
_KEPT: dict[str, tuple[Kept, Kept]] = {
    "bert": _PLAIN,
    "camembert": _PLAIN,
    "distilbert": _PLAIN,
    "electra": _PLAIN,
    "roberta": _PLAIN,
    "xlm-roberta": _PLAIN,
    "gpt_neox": (Kept(15, 8, 4), Kept(25, 16, 8)),
    "gpt2": (Kept(13, 8, 10), Kept(17, 16, 20)),
    "opt": (Kept(17, 8, 2), Kept(17, 16, 4)),
    "falcon": (Kept(9, 8, 4), Kept(13, 16, 8)),
    "llama": _GATED,
    "mistral": _GATED,
    "qwen2": _GATED,
    "gemma": _GATED,
    "phi3": (Kept(26, 8, 8), Kept(37, 16, 16)),
    "olmo2": (Kept(34, 17, 8), Kept(33, 24, 16)),
    "qwen3": (Kept(27, 20, 8), Kept(25, 32, 16)),
    "gemma2": (Kept(43, 8, 8, 8), Kept(42, 16, 16, 8)),
    "gemma3_text": (Kept(43, 24, 8), Kept(41, 32, 16)),
    "mixtral": (Kept(26, 8, 0), Kept(25, 16, 0)),
    "qwen3_moe": (Kept(27, 20, 0), Kept(25, 32, 0)),
    "qwen3_next": (Kept(58, 76, 10), Kept(56, 74, 20)),
    "gpt_oss": (Kept(58, 24, 0, 6, experts=24.2), Kept(56, 32, 0, 4, experts=24.2)),
    "deberta-v2": (Kept(17, 8, 4, 1, 3020), Kept(17, 16, 8, 1, 6050)),
}
"""By model type, in bf16 and in fp32."""
_OTHERS = Kept(58, 24, 10), Kept(56, 32, 20)
"""For other model types the largest: rather a GPU too many than a run that ends for want of memory."""
_HALF, _NUMBER = 2, 4
_WHOLE_MODEL = 9
"""Bytes for each hidden unit and token around the layers: the last norm."""
_RESIDUAL = 4
"""Bytes of a hidden unit between layers: the residual stream is fp32."""


_COPY = 7
"""Bytes of each hidden unit of a token's copy for an expert."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What is computed at once."""

    tokens: int
    """Of all rows together, padding included."""
    length: int
    """Of the longest row."""
    half: bool
    """Whether products are bf16."""


def layer_bytes(shape: ModelShape, batch: MicroBatch) -> float:
    """Bytes that one layer keeps for each token."""
    kept = _KEPT.get(shape.model_type, _OTHERS)[0 if batch.half else 1]
    widths = kept.hidden * shape.hidden + kept.attention * shape.attention + kept.intermediate * shape.intermediate
    row = kept.matrix * shape.heads or (_HALF if batch.half else _NUMBER)
    chosen = shape.chosen * (_COPY * shape.hidden + kept.experts * shape.expert)
    return widths + chosen + kept.places * shape.heads + row * batch.length


def activation_bytes(shape: ModelShape, batch: MicroBatch, *, recompute: bool) -> float:
    """Bytes of the activations of a micro-batch, at their most.

    Args:
        shape: Of the model.
        batch: What is computed.
        recompute: Whether only the layers' inputs are kept, and one layer at a time is computed again.
    """
    one = layer_bytes(shape, batch)
    layers = shape.layers * _RESIDUAL * shape.hidden + one if recompute else shape.layers * one
    return batch.tokens * (layers + _WHOLE_MODEL * shape.hidden)


def forward_bytes(shape: ModelShape, batch: MicroBatch) -> float:
    """Bytes of a forward pass whose activations are not kept: at most one layer's at a time, and what goes into it."""
    return batch.tokens * (layer_bytes(shape, batch) + 2 * _RESIDUAL * shape.hidden)
