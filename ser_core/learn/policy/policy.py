"""The policy: a causal language model. Dropout is off, also in training.

Weights that learn and log-probabilities are fp32. Matrix products can be bf16 (autocast).
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.api.spec.template import TemplateKind
from ser_core.data.reading.models.base_model import named
from ser_core.errors import SpecError
from ser_core.learn.compute.adapters import adapted, lora
from ser_core.learn.compute.pieces import Pieces, cut_all, cut_layers
from ser_core.learn.compute.placing import place
from ser_core.learn.compute.precision import Precision, freeze, narrow_frozen
from ser_core.learn.policy.batches import Sequences
from ser_core.learn.policy.generation import policy_text
from ser_core.learn.policy.generation_settings import configure_generation, configured_ends
from ser_core.learn.policy.log_probabilities import log_probabilities, passes_logits_on
from ser_core.learn.text.chat_text import take_template
from ser_core.learn.weights.exports import export, store
from ser_core.learn.weights.pretrained import read_model
from ser_core.learn.weights.stored_adapter import products_of


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal language model, its reference policy and its tokenizer."""

    network: Any
    reference: Any
    """Frozen network of the reference policy; None: it is the policy's network with the adapter switched off."""
    tokenizer: Any
    end_tokens: tuple[int, ...]
    """Ids of the tokens that end an answer."""
    precision: Precision
    in_chunks: bool
    """Whether the output layer can compute a batch in chunks (`passes_logits_on`)."""
    reference_pieces: Pieces | None = None
    """Where the reference policy is whole only while it computes."""

    def log_probabilities(self, batch: Sequences, temperature: float) -> torch.Tensor:
        """Log-probability of every answer token, shape (rows, answer width), fp32; 0 at padding."""
        return self._of(self.network, batch, temperature)

    def reference_log_probabilities(self, batch: Sequences, temperature: float) -> torch.Tensor:
        """Log-probability of every answer token under the reference policy, shape (rows, answer width), fp32; 0 at padding."""
        if self.reference is not None:
            return self._of(self.reference, batch, temperature)
        with self.network.disable_adapter():
            return self._of(self.network, batch, temperature)

    def _of(self, network: Any, batch: Sequences, temperature: float) -> torch.Tensor:
        return log_probabilities(network, batch, temperature, self.precision, in_chunks=self.in_chunks)

    def reference_at_hand(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the reference policy can compute. All processes enter and leave together."""
        return contextlib.nullcontext() if self.reference_pieces is None else self.reference_pieces.whole()

    def texts(self, answers: Sequence[Sequence[int]]) -> list[str]:
        """Texts of the answers without special tokens; most begin with a space."""
        ids = [list(answer) for answer in answers]
        found: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return found

    def store(self, folder: Path, *, base: Path) -> None:
        """Write the policy as it is kept in a store (`exports.store`); ``base`` is the folder that it was loaded from.

        Nothing trains on it later.
        """
        store(self.network, self.tokenizer, folder, base=base, products=self.precision.autocast, half=True)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and weights that training changes."""
        return ((name, weight) for name, weight in self.network.named_parameters() if weight.requires_grad)


def load_policy(
    folder: Path,
    precision: Precision,
    *,
    adapter: AdapterSpec | None = None,
    seed: int = 0,
    cut: bool = False,
    offload: bool = False,
    in_pieces: bool = False,
    template: TemplateKind = "reference",
    template_text: str | None = None,
) -> Policy:
    """Load a policy; all processes do it together. Its reference policy is the same model, frozen.

    Args:
        folder: Folder of a causal language model with its tokenizer, weights in safetensors; or of a stored adapter of one.
        precision: Device and number types of the computation.
        adapter: Train a LoRA adapter instead of all weights. Then the reference policy needs no second copy of the model.
        seed: Seed of a new adapter.
        cut: Whether each of several processes keeps a piece of the reference policy alone.
        offload: Whether these pieces are in main memory.
        in_pieces: Whether layers are never whole together, neither the policy's nor its reference's: those below an adapter, or all.
        template: The text that it reads and writes (`ser_core.api.spec.policy.PolicySpec`).
        template_text: Its ``templateText``.

    Raises:
        SpecError: transformers cannot load the folder as a causal language model, or the model has no end token.
    """
    network, tokenizer = load_causal(folder, precision, adapter=adapter, seed=seed, template=template, template_text=template_text)
    if in_pieces:
        (cut_all if adapter is None else cut_layers)(network, precision.device)
    else:
        place(network, precision.device)
    ends = _end_tokens(network)
    reference, pieces = None, None
    if adapter is None:
        reference = freeze(read_model(AutoModelForCausalLM, folder, "policy.base", together=True)[0], precision).eval()
        if in_pieces:
            cut_layers(reference, precision.device)
        else:
            pieces = Pieces(reference, precision.device, cut=cut, offload=offload)
    return Policy(network, reference, tokenizer, ends, precision, passes_logits_on(network, precision), pieces)


def load_causal(
    folder: Path,
    precision: Precision,
    *,
    adapter: AdapterSpec | None = None,
    seed: int = 0,
    template: TemplateKind = "reference",
    template_text: str | None = None,
) -> tuple[Any, Any]:
    """A causal language model to train, and its tokenizer, whose chat template renders what the policy reads and learns.

    Arguments as in `load_policy`. All processes call it together; rank 0 alone reads the weights, when an engine takes them (`placing`).
    What lies below an adapter is `narrow_frozen` before it gets there: its device may have no room for it in fp32.

    Raises:
        SpecError: transformers cannot load the folder as a causal language model.
    """
    torch.manual_seed(seed)
    network, tokenizer = read_model(AutoModelForCausalLM, folder, "policy.base", together=True)
    take_policy_template(tokenizer, template, template_text)
    configure_generation(network, tokenizer)
    if adapter is not None:
        network = adapted(network, lora(adapter, "CAUSAL_LM"))
    return narrow_frozen(network, precision).eval(), tokenizer


def export_stored(stored: Path, folder: Path) -> None:
    """Write a stored adapter of a policy, merged, as a plain model."""
    network, tokenizer = read_model(AutoModelForCausalLM, stored, "policy", together=True)
    configure_generation(network, tokenizer)
    export(network, tokenizer, folder, products=products_of(stored))


def take_policy_template(tokenizer: Any, template: TemplateKind, text: str | None) -> None:
    """Let the chat template of a policy's tokenizer render what the policy reads and learns."""
    if template != "reference":
        with named("policy.base"):
            take_template(tokenizer, text, writes=True)
        return
    tokenizer.chat_template = None
    found = policy_text(tokenizer)
    tokenizer.chat_template = None if found is None else found.template


def _end_tokens(network: Any) -> tuple[int, ...]:
    ends = configured_ends(network)
    if not ends:
        raise SpecError("policy.base: its tokenizer has no end-of-sequence token", reason="ModelNotSupported", hint="name another model")
    return tuple(sorted(ends))
