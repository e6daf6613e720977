"""Decoders with random weights, of the sizes of real ones, and a tokenizer of one token a character."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

_POSITIONS = 4096


@dataclass(frozen=True, slots=True)
class Size:
    """Widths of a decoder with gated inner layers."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kept_heads: int
    """Of keys and values."""
    vocabulary: int
    tied: bool
    """Whether the output layer has the embeddings' weights."""


SIZES = {
    "tiny": Size(32, 64, 2, 4, 2, 300, tied=True),
    "0.5B": Size(896, 4864, 24, 14, 2, 151_936, tied=True),
    "1.5B": Size(1536, 8960, 28, 12, 2, 151_936, tied=True),
    "3B": Size(2048, 11008, 36, 16, 2, 151_936, tied=True),
    "8B": Size(4096, 14336, 32, 32, 8, 128_256, tied=False),
}
"""Those of Qwen2.5 and Llama 3; `tiny` is for tests."""


def make_model(size: Size, folder: Path, device: str) -> Path:
    """Write a causal language model in bf16, with its tokenizer, into a new folder; returns it.

    Args:
        size: Widths.
        folder: A new folder.
        device: Where the random numbers are drawn.
    """
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kept_heads,
        intermediate_size=size.intermediate,
        max_position_embeddings=_POSITIONS,
        tie_word_embeddings=size.tied,
    )
    _tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    with torch.device(device):
        network = Qwen2ForCausalLM._from_config(config, dtype=torch.bfloat16)
    network.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({character: number for number, character in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = {"eos_token": "<|end|>", "pad_token": "<|pad|>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=_POSITIONS, **special)
