"""The critic: a network that gives every token of an answer a value. Weights that learn and values are fp32, dropout is off.

The critic best starts from the reward model. That needs a causal reward model with the policy's tokens. Any other critic starts from the
policy, with a new head whose values are zero; such a critic should first learn alone (`Settings.critic_warm_up`).

Where only adapters are trained, the critic can share its frozen weights with the policy: `trunk.share_trunk`. Where the policy's are in
pieces, the critic's are too, and those that are the same are held once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.errors import SpecError
from ser_core.learn.compute.adapters import adapt_scorer
from ser_core.learn.compute.parts import heads, linear_head, without_adapter
from ser_core.learn.compute.pieces import cut_all, cut_layers
from ser_core.learn.compute.precision import Precision, autocast, narrow_frozen
from ser_core.learn.policy.batches import Sequences
from ser_core.learn.weights.pretrained import read_model
from ser_core.learn.weights.stored_adapter import fits_into, go_on_from
from ser_core.store.stages.model_folder import BASE


@dataclass(frozen=True, slots=True)
class Critic:
    """A causal network with a linear head of one output."""

    network: Any
    """What `values_of_tokens` made of it; also in an engine."""
    from_reward_model: bool
    """Whether it started from the reward model; then its outputs are on the scale of raw scores."""
    precision: Precision

    def values(self, batch: Sequences, score_mean: float) -> torch.Tensor:
        """Value of the state before every answer token, computed from the hidden state of the token before it.

        Args:
            batch: Prompts and answers.
            score_mean: Subtracted from raw scores, as in the rewards: so a critic that was not trained yet predicts the reward.

        Returns:
            Shape (rows, answer width), fp32; 0 at padding.
        """
        values = self.network(batch.tokens, batch.before) - (score_mean if self.from_reward_model else 0.0)
        return batch.spread(values)

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and weights that training changes."""
        return ((name, weight) for name, weight in self.network.named_parameters() if weight.requires_grad)


def values_of_tokens(network: Any, precision: Precision) -> Any:
    """Let a network that scores compute a value for each of some tokens. An engine then sees one call of the whole network."""
    scorer = without_adapter(network)

    def forward(tokens: torch.Tensor, places: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with autocast(precision):
            hidden = scorer.base_model(input_ids=tokens, use_cache=False).last_hidden_state[places]
        values: torch.Tensor = _head(scorer)(hidden.float()).squeeze(-1)
        return values

    network.forward = forward
    return network


def make_critic(
    reward_model: Path,
    policy: Path,
    precision: Precision,
    vocabulary: Mapping[str, int],
    *,
    adapter: AdapterSpec | None = None,
    seed: int = 0,
    beside: Any = None,
) -> tuple[Critic, str]:
    """Make the critic from the reward model if possible, else from the policy.

    Args:
        reward_model: Folder of the reward model, as it is stored.
        policy: Folder that the policy was loaded from.
        precision: Device and number types of the computation.
        vocabulary: The policy's tokens and their ids.
        adapter: Train a LoRA adapter and the head instead of all weights.
        seed: Seed of a new adapter.
        beside: The policy's network, if that is in pieces: so is the critic's then, and what lies below both adapters is held once.

    Returns:
        The critic, and a sentence that says from which model it starts and why.

    Raises:
        SpecError: A critic can be made neither from the reward model nor from the policy.
    """
    try:
        critic = load_critic(reward_model, precision, vocabulary, adapter=adapter, seed=seed, beside=beside)
    except SpecError as error:
        if error.reason != "CriticNotSupported":
            raise
        critic = critic_from_policy(policy, precision, adapter=adapter, seed=seed, beside=beside)
        return critic, f"{error.message}; the critic starts from the policy, with values of zero"
    return critic, "the critic starts from the reward model"


def load_critic(
    folder: Path,
    precision: Precision,
    vocabulary: Mapping[str, int],
    *,
    adapter: AdapterSpec | None = None,
    seed: int = 0,
    beside: Any = None,
) -> Critic:
    """Make a critic from a reward model as it is stored; the reward head becomes the value head. Arguments as in `make_critic`.

    Where both have adapters, the critic's goes on from the reward model's, and the trunk below it stays the base.

    Raises:
        SpecError: The reward model's tokens are not the policy's, it is not causal, or its head is more than one linear layer.
    """
    goes_on = adapter is not None and fits_into(folder, adapter.rank)
    network, tokenizer = _read(folder / BASE if goes_on else folder, "rewardModel", beside)
    known = tokenizer.get_vocab()
    strange = sorted(token for token, number in vocabulary.items() if known.get(token) != number)
    if strange:
        raise _unfit(f"{len(strange)} of the policy's {len(vocabulary)} tokens have another id in it, such as {strange[0]!r}")
    if linear_head(network) is None:
        raise _unfit("its head is more than one linear layer")
    network = _ready(network, adapter, seed)
    if goes_on:
        go_on_from(network, folder)
    _place(network, adapter, precision, beside)
    if not _causal(network, precision if beside is not None else Precision("cpu")):
        raise _unfit("a token's hidden state depends on later tokens, so it would know the answer in advance")
    return Critic(values_of_tokens(network, precision), True, precision)


def critic_from_policy(
    folder: Path, precision: Precision, *, adapter: AdapterSpec | None = None, seed: int = 0, beside: Any = None
) -> Critic:
    """Make a critic from a policy: the policy's trunk with a new head whose values are zero. Arguments as in `make_critic`.

    Raises:
        SpecError: transformers has no network with one scalar output for this kind of model.
    """
    network, _ = _read(folder, "policy.base", beside)
    for weight in _head(network).parameters():
        nn.init.zeros_(weight)
    network = _ready(network, adapter, seed)
    _place(network, adapter, precision, beside)
    return Critic(values_of_tokens(network, precision), False, precision)


def _read(folder: Path, field: str, beside: Any) -> tuple[Any, Any]:
    """The network with one output, and its tokenizer. Where it will be in pieces, rank 0 alone reads its weights."""
    return read_model(AutoModelForSequenceClassification, folder, field, together=beside is not None, num_labels=1)


def _ready(network: Any, adapter: AdapterSpec | None, seed: int) -> Any:
    if adapter is not None:
        torch.manual_seed(seed)
        network = adapt_scorer(network, adapter)
    return network.eval()


def _place(network: Any, adapter: AdapterSpec | None, precision: Precision, beside: Any) -> None:
    if beside is None:
        return
    if adapter is None:
        cut_all(network, precision.device)
    else:
        cut_layers(narrow_frozen(network, precision), precision.device, beside)


def _head(network: Any) -> Any:
    (found,) = heads(network).values()
    return found


def _causal(network: Any, precision: Precision) -> bool:
    tokens = torch.tensor([[1, 2], [1, 3]], device=precision.device)
    with torch.no_grad(), autocast(precision):
        first = without_adapter(network).base_model(input_ids=tokens).last_hidden_state[:, 0]
    return torch.allclose(first[0], first[1], atol=1e-5)


def _unfit(why: str) -> SpecError:
    return SpecError(
        f"the reward model cannot be the critic: {why}",
        reason="CriticNotSupported",
        hint="set rewardModel.base to a decoder with the policy's tokenizer, for example to policy.base",
    )
