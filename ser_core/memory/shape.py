"""The sizes of a model, from its configuration and the shapes of its tensors."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Tensors = Mapping[str, tuple[int, ...]]
"""Shapes by name, as the header of a safetensors file has them."""

_LAYER = re.compile(r"^(.*?)\.(\d+)\.")
_OUTPUT = re.compile(r"(^|\.)(lm_head|embed_out|output_projection)\.")
_EXPERT = re.compile(r"\.experts\.\d+\.")
"""Of files; transformers makes one weight with three sides of all of them."""
_ADAPTER = re.compile(r"\.lora_|\.modules_to_save\.|\.score\.|\.classifier\.")
_NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "intermediate": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "chosen": ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"),
    "expert": ("moe_intermediate_size",),
    "keys": ("num_key_value_heads", "num_kv_heads"),
}
"""What configurations of transformers call a size."""
_REWORKED = ("final_logit_softcapping", "logits_soft_cap", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""What configurations of transformers call a change of the logits after the output layer."""
_TIMES_HIDDEN = 4
"""Width of the inner layer where a configuration does not name it (GPT-2, BLOOM)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What decides the memory that a model takes. Numbers are counted, not bytes."""

    model_type: str
    weights: int
    """Numbers in all tensors of the trunk, embeddings included, without a language model's own output layer."""
    output: int
    """Numbers in the language model's output layer; 0: it shares the embeddings'."""
    layer: int
    """Numbers in the largest layer."""
    matrices: int
    """Numbers in the layers' matrices, which are multiplied by every token."""
    sides: int
    """Rows and columns of all these matrices together: an adapter of rank r has r times as many numbers."""
    hidden: int
    layers: int
    intermediate: int
    attention: int
    """Width of all queries together."""
    heads: int
    keys: int
    """Width of all keys together, and of all values."""
    vocabulary: int
    largest: int
    """Numbers in the largest weight."""
    reworks_logits: bool = False
    """Whether a language model changes what its output layer computes, so that it cannot compute a few tokens at a time."""
    experts: int = 0
    """Numbers in the experts' matrices, and in what else is no plain matrix: autocast leaves them as they are."""
    chosen: int = 0
    """Experts that compute a token; 0: the model is no mixture of experts."""
    expert: int = 0
    """Width of the inner layer of an expert."""

    @property
    def embeddings(self) -> int:
        """Numbers in the table of embeddings."""
        return min(self.vocabulary * self.hidden, self.weights - self.matrices)


def model_shape(config: Mapping[str, Any], tensors: Tensors) -> ModelShape:
    """The sizes of a model.

    Args:
        config: Content of its ``config.json``; of one with several parts that of the text counts.
        tensors: Of all its files. Those of an adapter or of a head are left out.
    """
    text = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else config
    assert isinstance(text, Mapping)
    hidden = _size(text, "hidden") or max((shape[-1] for shape in tensors.values() if len(shape) == 2), default=1)
    own = {name: shape for name, shape in tensors.items() if not _ADAPTER.search(name)}
    output = {name: shape for name, shape in own.items() if _OUTPUT.search(name)}
    layers = _by_layer((name, shape) for name, shape in own.items() if name not in output)
    matrices = [shape for parts in layers.values() for shape in parts if len(shape) >= 2]
    odd = (shape for name, shape in own.items() if _LAYER.match(name) and len(shape) > (1 if _EXPERT.search(name) else 2))
    named, together = any(".experts." in name for name in own), any(len(shape) > 2 for shape in matrices)
    heads = _size(text, "heads") or 1
    head = text["head_dim"] if isinstance(text.get("head_dim"), int) else hidden // heads
    return ModelShape(
        model_type=str(config.get("model_type", "")),
        weights=_count(shape for name, shape in own.items() if name not in output),
        output=_count(output.values()),
        layer=max(map(_count, layers.values()), default=0),
        matrices=_count(matrices),
        sides=sum(math.prod(shape[:-2]) * (shape[-1] + shape[-2]) for shape in matrices),
        hidden=hidden,
        layers=_size(text, "layers") or len(layers) or 1,
        intermediate=_size(text, "intermediate") or _TIMES_HIDDEN * hidden,
        attention=heads * head if isinstance(text.get("head_dim"), int) else hidden,
        heads=heads,
        keys=head * (_size(text, "keys") or heads),
        vocabulary=text["vocab_size"] if isinstance(text.get("vocab_size"), int) else 0,
        largest=_largest(own),
        reworks_logits=any(text.get(name) not in (None, 1.0) for name in _REWORKED),
        experts=_count(odd),
        chosen=(_size(text, "chosen") or int(named)) if named or together else 0,
        expert=_size(text, "expert") or _size(text, "intermediate") or _TIMES_HIDDEN * hidden,
    )


def _size(config: Mapping[str, Any], name: str) -> int | None:
    return next((config[key] for key in _NAMES[name] if isinstance(config.get(key), int)), None)


def _by_layer(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> dict[str, list[tuple[int, ...]]]:
    layers: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in tensors:
        found = _LAYER.match(name)
        if found:
            layers.setdefault(found[0], []).append(shape)
    return layers


def _largest(tensors: Tensors) -> int:
    """Numbers in the largest weight. Files have the matrices of each expert; transformers makes one weight of the two that go in, of all
    experts of a layer, and one of those that go out."""
    together: dict[str, int] = {}
    for name, shape in tensors.items():
        of_all, experts = _EXPERT.subn(".experts.", name)
        together[of_all] = together.get(of_all, 0) + math.prod(shape) * (2 if experts else 1)
    return max(together.values(), default=0)


def _count(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes))
