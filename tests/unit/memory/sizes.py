"""Shapes of the models that the method is for."""

from ser_core.memory.shape import ModelShape, model_shape

_SIZES = {
    "7B": (4096, 14336, 32, 32, 8, 32000),
    "8B": (4096, 14336, 32, 32, 8, 128256),
    "13B": (5120, 13824, 40, 40, 40, 32000),
    "70B": (8192, 28672, 80, 64, 8, 128256),
}
"""Hidden and inner width, layers, heads, heads of keys and values, vocabulary: Mistral, Llama 3, Llama 2, Llama 3."""


def decoder(size: str) -> ModelShape:
    """A decoder with gated inner layers and untied embeddings."""
    hidden, inner, layers, heads, kept, vocabulary = _SIZES[size]
    key = kept * hidden // heads
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        name = f"model.layers.{layer}"
        rows = {"q": hidden, "k": key, "v": key, "o": hidden}
        shapes |= {f"{name}.self_attn.{part}_proj.weight": (count, hidden) for part, count in rows.items()}
        shapes |= {f"{name}.mlp.{part}_proj.weight": (inner, hidden) for part in ("gate", "up")}
        shapes |= {f"{name}.mlp.down_proj.weight": (hidden, inner), f"{name}.input_layernorm.weight": (hidden,)}
    config = {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_key_value_heads": kept,
    }
    return model_shape(config | {"num_attention_heads": heads, "vocab_size": vocabulary}, shapes)
