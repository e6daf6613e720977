"""Log-probabilities of answers, without the logits of all their tokens at once.

A vocabulary has up to a quarter of a million tokens, so the logits of a batch can take more memory than all its activations. The output
layer therefore computes the tokens in chunks, and of each chunk only the log-probabilities of the right tokens stay. The backward pass
computes the logits of a chunk again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ser_core.learn.compute.precision import Precision, autocast
from ser_core.learn.policy.batches import Sequences
from ser_core.memory.training import LARGEST_LOGITS


def log_probabilities(
    network: Any, batch: Sequences, temperature: float, precision: Precision, *, in_chunks: bool, largest: int = LARGEST_LOGITS
) -> torch.Tensor:
    """Log-probability of every answer token, shape (rows, answer width), fp32; 0 at padding.

    Args:
        network: A causal language model; also one in an adapter or in an engine.
        batch: Prompts and answers.
        temperature: Logits are divided by it.
        precision: Device and number types of the computation.
        in_chunks: What `passes_logits_on` said of the network.
        largest: Numbers of the logits that are computed together.
    """
    rows, columns = batch.before
    right = batch.tokens[rows, columns + 1]
    head = network.get_output_embeddings()
    whole = head.forward

    def of_answers(hidden: torch.Tensor) -> torch.Tensor:
        # The head is by far the widest layer, so it gets only the hidden states that predict answer tokens.
        states = hidden[rows, columns]
        return _in_chunks(whole, states, right, temperature, max(1, largest // head.out_features)) if in_chunks else whole(states)

    # Its method, not its call: an engine, which watches the calls of a module, sees one, whatever the number of chunks.
    head.forward = of_answers
    try:
        with autocast(precision):
            found = network(input_ids=batch.tokens, use_cache=False).logits
    finally:
        head.forward = whole
    return batch.spread(found if in_chunks else _of_right_tokens(found, right, temperature))


def passes_logits_on(network: Any, precision: Precision) -> bool:
    """Whether a network returns what its output layer computes, as most do. Others scale it, or limit its size, and need all of it."""
    head = network.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        return False
    computed: list[torch.Tensor] = []
    tokens = torch.arange(min(8, head.out_features), device=network.device).unsqueeze(0)
    hook = head.register_forward_hook(lambda _module, _inputs, output: computed.append(output))
    with torch.no_grad(), autocast(precision):
        returned = network(input_ids=tokens, use_cache=False).logits
    hook.remove()
    return len(computed) == 1 and torch.equal(computed[0].float(), returned.float())


def _in_chunks(
    head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, right: torch.Tensor, temperature: float, size: int
) -> torch.Tensor:
    def chunk(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return _of_right_tokens(head(states), tokens, temperature)

    parts = list(zip(hidden.split(size), right.split(size), strict=True))
    if len(parts) <= 1 or not torch.is_grad_enabled():
        return torch.cat([chunk(*part) for part in parts])
    return torch.cat([checkpoint(chunk, *part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def _of_right_tokens(logits: torch.Tensor, right: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = logits.float() / temperature
    # This equals log-softmax, without a second tensor of the logits' size.
    return logits.gather(-1, right.unsqueeze(-1)).squeeze(-1) - logits.logsumexp(-1)
