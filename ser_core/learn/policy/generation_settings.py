"""What a policy's generation config holds: its own tokens, and samples from the distribution that learns.

A base's own one is left behind: its penalties and limits are no part of the training, and transformers refuses to save a changed one
in which it finds any fault.
"""

from typing import Any

from transformers import GenerationConfig

from ser_core.learn.text.chat_text import chat_text_of


def configure_generation(network: Any, tokenizer: Any) -> None:
    """Give a policy's network a generation config of its own, by which an answer ends as those end that it learns from."""
    own = network.generation_config
    network.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,  # an export names that of the run
        top_k=0,
        top_p=1.0,
        eos_token_id=sorted(_ends(network, tokenizer)) or None,
        pad_token_id=_token(tokenizer.pad_token_id, own.pad_token_id),
        bos_token_id=_token(tokenizer.bos_token_id, own.bos_token_id),
    )


def configured_ends(network: Any) -> set[int]:
    """Ids of the tokens that end an answer, as the network's generation config has them."""
    found = getattr(network.generation_config, "eos_token_id", None)
    return {token for token in (found if isinstance(found, list) else [found]) if token is not None and token >= 0}


def _ends(network: Any, tokenizer: Any) -> set[int]:
    """With the tokenizer's own, and the control token that a chat template puts behind an answer."""
    chat = chat_text_of(tokenizer)
    more = (tokenizer.eos_token_id, None if chat is None else chat.end)
    return configured_ends(network) | {token for token in more if token is not None}


def _token(*found: int | None) -> int | None:
    """The first that is one: some bases write -1 for none."""
    return next((token for token in found if token is not None and token >= 0), None)
