"""The reward model: a sequence-classification model of transformers with one output, the score (a logit).

Weights that learn are fp32. The trunk is computed under autocast, the head always in fp32 and one row after the other: its products are so
small that their last bits depend on a row's place in the batch, while those of the trunk do not (tested).

Dropout stays off, in training too: then scores are a function of the weights alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.data.reading.models.positions import row_limit
from ser_core.learn.compute.adapters import adapt_scorer
from ser_core.learn.compute.parts import computed_by_row, trainable, without_adapter
from ser_core.learn.compute.precision import Precision, autocast, freeze, narrow_frozen
from ser_core.learn.reward.batching import Batch
from ser_core.learn.reward.encoding import Encoder, reads_pairs
from ser_core.learn.text.chat_text import ChatText, take_template
from ser_core.learn.text.control_tokens import read_control_tokens_as_text
from ser_core.learn.text.reference_text import Form, recorded_form
from ser_core.learn.weights.exports import export, store
from ser_core.learn.weights.pretrained import add_rows, last_token, read_model, told_of_the_model
from ser_core.learn.weights.stored_adapter import products_of


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A model, its tokenizer, and how they are computed."""

    network: Any
    """`PreTrainedModel`, or a `PeftModel` around it."""
    tokenizer: Any
    encoder: Encoder
    precision: Precision
    limit: int
    """Rows are shorter (`row_limit`)."""

    def score(self, batch: Batch) -> torch.Tensor:
        """Scores of a batch: fp32, shape (rows,), with gradient where that is on."""
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if "token_type_ids" in self.tokenizer.model_input_names:
            inputs["token_type_ids"] = batch.token_type_ids
        logits: torch.Tensor = self.network(**{name: value.to(self.precision.device) for name, value in inputs.items()}).logits
        return logits.squeeze(-1)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and weights that training changes."""
        return trainable(self.network)

    def store(self, folder: Path, *, base: Path, half: bool) -> None:
        """Write the model as it is kept in a store (`exports.store`).

        Args:
            folder: A new folder.
            base: Folder that it was loaded from.
            half: Whether nothing trains on it later.
        """
        store(self.network, self.tokenizer, folder, base=base, products=self.precision.autocast, half=half)


def load(
    folder: Path,
    precision: Precision,
    *,
    max_length: int,
    seed: int = 0,
    adapter: AdapterSpec | None = None,
    frozen: bool = False,
    form: Form | None = None,
    template_text: str | None = None,
    together: bool = False,
) -> RewardModel:
    """Load a model from its files.

    Args:
        folder: A transformers model with its tokenizer, of any head, weights in safetensors; or a stored adapter.
        precision: How to compute it.
        max_length: Tokens of prompt and answer together; models with fewer positions lower it.
        seed: Seed of a new head and of the adapter; not used where the folder holds a reward model already.
        adapter: Train a LoRA adapter on all linear layers, and the head, in place of all weights. It learns the same bits whatever the
            precision of what lies below it (`narrow_frozen`).
        frozen: Only to score with. Its scores are the same to the last bit, with half of the memory where products are bf16.
        form: How its rows are made; None: as it has learnt, which a base has not.
        template_text: The ``templateText`` that it is to learn with (`Form.CHAT`); None: none, or what its tokenizer has already.
        together: Whether all processes load it and rank 0 alone reads its weights: when an engine, `placing` or `pieces` takes them.

    Raises:
        SpecError: transformers cannot make a sequence-classification model of it.
    """
    torch.manual_seed(seed)
    network, tokenizer = read_model(
        AutoModelForSequenceClassification,
        folder,
        "rewardModel.base",
        together=together,
        num_labels=1,
        problem_type="regression",  # pipelines then return the logit itself, not its sigmoid
    )
    limit = row_limit(network.config.to_dict(), tokenizer.model_max_length)
    _separate_padding(network, tokenizer)
    network.config.use_cache = False
    with told_of_the_model("rewardModel.base", "its tokenizer cannot be used"):
        if template_text is not None:
            take_template(tokenizer, template_text)
        if form is Form.ONE_TEXT and reads_pairs(tokenizer):
            read_control_tokens_as_text(tokenizer)
        if form is Form.CHAT:
            _separate_padding(network, tokenizer, ChatText(tokenizer).after[-1:])
        encoder = Encoder(tokenizer, min(max_length, limit - 1), recorded_form(tokenizer) if form is None else form)
    tokenizer.chat_template = encoder.chat_template
    if adapter is not None:
        network = narrow_frozen(adapt_scorer(network, adapter), precision)
    network = (freeze(network, precision) if frozen else network).eval()
    network = network if together else network.to(precision.device)
    _compute_head_alone(network, precision)
    return RewardModel(network, tokenizer, encoder, precision, limit)


def export_stored(stored: Path, folder: Path) -> None:
    """Write a stored adapter of a reward model, merged, as the plain model whose scores were evaluated."""
    products = products_of(stored)
    model = load(stored, Precision("cpu", products), max_length=1 << 30, together=True)
    export(model.network, model.tokenizer, folder, products=products)


def _separate_padding(network: Any, tokenizer: Any, ends: tuple[int, ...] = ()) -> None:
    """Give the tokenizer a padding token of its own: models that score the last token look for the last one that is not padding.

    ``ends``: what ends a row beside the end-of-sequence token, as Llama 3's end of a turn, which is some models' padding.
    """
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id, *ends):
        tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        if last_token(tokenizer) >= network.get_input_embeddings().num_embeddings:
            add_rows(network, last_token(tokenizer) + 1)
    tokenizer.padding_side = "right"
    network.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    network.config.pad_token_id = tokenizer.pad_token_id


def _compute_head_alone(network: Any, precision: Precision) -> None:
    """Put the trunk under autocast, and let the pooler and the head see one row at a time."""
    for head in computed_by_row(network):
        head.forward = _row_by_row(head.forward)
    if precision.autocast is not None:
        trunk = without_adapter(network).base_model
        trunk.forward = _in_autocast(trunk.forward, precision)


def _row_by_row(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def run(hidden: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        return torch.cat([forward(row, *rest, **named) for row in hidden.split(1)])

    return run


def _in_autocast(forward: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    def run(*inputs: Any, **named: Any) -> Any:
        with autocast(precision):
            output = forward(*inputs, **named)
        for name, value in output.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                output[name] = value.float()
        return output

    return run
