"""Small models of many kinds, and the bytes that autograd keeps of them, counted without computing."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensorMode

ROWS, LENGTH = 2, 90
_DECODER: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 704,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "num_labels": 1,
    "pad_token_id": 0,
}
_ENCODER = {name: _DECODER[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_labels")}
_ENCODER |= {"intermediate_size": 1024}
_WITHOUT_HEAD = {name: value for name, value in _DECODER.items() if name != "head_dim"}
_GPT2 = {"vocab_size": 1000, "n_embd": 256, "n_head": 8, "n_layer": 6, "n_positions": 512, "num_labels": 1, "pad_token_id": 0}
_DISTIL = {"vocab_size": 1000, "dim": 256, "hidden_dim": 1024, "n_heads": 8, "n_layers": 6, "num_labels": 1}
_DEBERTA = _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 256, "share_att_key": True}
_DEBERTA |= {"norm_rel_ebd": "layer_norm", "position_biased_input": False, "max_relative_positions": -1}

_CHOSEN = _DECODER | {"num_experts_per_tok": 4, "moe_intermediate_size": 176}
_LINEAR = {"linear_num_value_heads": 8, "linear_num_key_heads": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 32}

FAMILIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("Llama", _DECODER),
    "llama with wide heads": ("Llama", _DECODER | {"head_dim": 64}),
    "mistral": ("Mistral", _DECODER),
    "qwen2": ("Qwen2", _WITHOUT_HEAD),
    "qwen3": ("Qwen3", _DECODER),
    "gemma": ("Gemma", _DECODER),
    "gemma2": ("Gemma2", _DECODER),
    "gemma3": ("Gemma3Text", _DECODER),
    "phi3": ("Phi3", _WITHOUT_HEAD),
    "olmo2": ("Olmo2", _WITHOUT_HEAD),
    "gpt2": ("GPT2", _GPT2),
    "gpt_neox": ("GPTNeoX", _ENCODER | {"max_position_embeddings": 512, "pad_token_id": 0}),
    "bert": ("Bert", _ENCODER),
    "roberta": ("Roberta", _ENCODER),
    "distilbert": ("DistilBert", _DISTIL),
    "electra": ("Electra", _ENCODER | {"embedding_size": 256}),
    "deberta": ("DebertaV2", _DEBERTA),
    "mixtral": ("Mixtral", _DECODER | {"num_local_experts": 8, "num_experts_per_tok": 2}),
    "qwen3_moe": ("Qwen3Moe", _CHOSEN | {"num_experts": 16}),
    "qwen3_next": ("Qwen3Next", _CHOSEN | _LINEAR | {"num_experts": 16, "shared_expert_intermediate_size": 176}),
    "gpt_oss": ("GptOss", _DECODER | {"num_local_experts": 8, "num_experts_per_tok": 4}),
}
OTHERS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "qwen2_moe": ("Qwen2Moe", _CHOSEN | {"num_experts": 16, "shared_expert_intermediate_size": 704}),
    "minimax": ("MiniMax", _DECODER | {"num_local_experts": 8}),
    "albert": ("Albert", _ENCODER | {"embedding_size": 64}),
    "mpnet": ("MPNet", _ENCODER),
    "hunyuan": ("HunYuanMoEV1", _DECODER | {"num_experts": 8, "moe_topk": 2}),
}
"""Without a row of their own in the table."""


def make(family: str) -> Any:
    """A network of a family that scores."""
    kind, settings = (FAMILIES | OTHERS)[family]
    config = getattr(transformers, f"{kind}Config")(**settings)
    network = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    network.config.use_cache = False
    return network


def kept_bytes(network_of: Callable[[], Any], *, half: bool, length: int = LENGTH) -> float:
    """Bytes that autograd keeps of a forward pass, copies of weights left out."""
    with FakeTensorMode():
        network = network_of()
        weights = {id(part.untyped_storage()) for part in (*network.parameters(), *network.buffers())}
        shapes = {tuple(part.shape) for part in network.parameters()} | {tuple(part.shape)[::-1] for part in network.parameters()}
        found: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if id(storage) not in weights and tuple(tensor.shape) not in shapes:
                found[id(storage)] = storage
            return tensor

        ids = torch.randint(1, 100, (ROWS, length))
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=half, cache_enabled=False),
        ):
            hidden = network.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        assert hidden.requires_grad
        return sum(storage.nbytes() for storage in found.values())
