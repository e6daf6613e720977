"""One frozen trunk for policy and critic where both only train adapters: weights that are the same are stored once.

A critic whose adapter goes on from the reward model's lies on the base: where that is the policy's, nothing has to be found out. Merged
adapters are those of earlier versions, and of loops that each began with the weights of the one before: there each matrix is the base's and
a difference of low rank, and if the critic's adapter can hold it, it becomes an adapter again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from ser_core.learn.compute.precision import narrow_frozen
from ser_core.learn.policy.policy import Policy
from ser_core.learn.policy.ppo.critic import Critic
from ser_core.learn.weights.pretrained import load_network

_SPARE_RANK = 4
"""More singular vectors than wanted, for the accuracy of the wanted ones (arXiv 0909.4061)."""
_LARGEST_REST = 1e-3
"""Share of a difference that an adapter of that rank may leave out: rounding, when the weights were added and subtracted in fp32."""


def share_trunk(policy: Policy, critic: Critic, base: Path) -> float:
    """Let the critic's frozen weights be the policy's own memory wherever they are the same, up to what the critic's adapter can take over.

    It does not change what the critic computes, but for rounding. Exporting the policy afterwards ends the critic's use as well. Sets
    torch's seed.

    Args:
        policy: With an adapter.
        critic: With an adapter that is new, or goes on from the reward model's. Its frozen matrices are fp32 before, and afterwards as
            they are multiplied (`narrow_frozen`).
        base: Folder that the policy was loaded from.

    Returns:
        Share of the critic's frozen numbers that take no memory of their own any more.
    """
    torch.manual_seed(0)  # the singular vectors are sought from a random start
    mine = {name: weight for name, weight in policy.network.named_parameters() if not weight.requires_grad}
    _move_into_adapters(policy, critic, mine, base)
    narrow_frozen(critic.network, critic.precision).to(policy.precision.device)
    # Its padding token may be one that the policy does not have; nothing is padded with it here.
    critic.network.get_input_embeddings().padding_idx = None
    shared = total = 0
    for name, weight in critic.network.named_parameters():
        if weight.requires_grad:
            continue
        total += weight.numel()
        if name in mine and _same(weight, mine[name]):
            shared += weight.numel()
            weight.data = mine[name].data
    return shared / max(1, total)


def _move_into_adapters(policy: Policy, critic: Critic, mine: Mapping[str, torch.Tensor], base: Path) -> None:
    """Make merged adapters of the critic adapters again, as far as its own can hold them."""
    whole: Mapping[str, torch.Tensor] = {}
    for name, layer in critic.network.named_modules():
        if not hasattr(layer, "lora_A") or not isinstance(layer.get_base_layer(), nn.Linear):
            continue
        weight, shared = layer.get_base_layer().weight, mine.get(f"{name}.base_layer.weight")
        if shared is None:
            continue
        if weight.shape != shared.shape:
            break
        if torch.equal(weight.to(shared), shared):
            continue
        whole = whole or _in_fp32(policy, mine, base)
        if not _moved_into_adapter(layer.to(shared.device), whole[f"{name}.base_layer.weight"].to(shared.device)):
            break  # then this is no merged adapter, and the other matrices need no look


def _in_fp32(policy: Policy, mine: Mapping[str, torch.Tensor], base: Path) -> Mapping[str, torch.Tensor]:
    """The policy's frozen matrices, by their names in it: a difference from rounded ones would have no low rank."""
    if policy.precision.autocast is None:
        return mine
    network, _ = load_network(AutoModelForCausalLM, base, "policy.base")
    return {f"base_model.model.{name.removesuffix('.weight')}.base_layer.weight": weight for name, weight in network.named_parameters()}


def _moved_into_adapter(layer: Any, base: torch.Tensor) -> bool:
    """Replace a matrix by ``base`` and put what the layer computes beyond it into its adapter, if that has so low a rank."""
    weight = layer.get_base_layer().weight
    (down,), (up,), (scale,) = layer.lora_A.values(), layer.lora_B.values(), layer.scaling.values()
    learnt = (up.weight.data @ down.weight.data) * scale
    difference, rank = weight.data + learnt - base.data, down.weight.shape[0]
    left, sizes, right = torch.svd_lowrank(difference, q=min(*weight.shape, rank + _SPARE_RANK), niter=4)
    roots = sizes[:rank].sqrt()
    found_up, found_down = left[:, :rank] * roots, (right[:, :rank] * roots).T
    if torch.linalg.norm(difference - found_up @ found_down) > _LARGEST_REST * torch.linalg.norm(difference):
        return False
    down.weight.data[: len(roots)] = found_down
    up.weight.data.zero_()
    up.weight.data[:, : len(roots)] = found_up / scale
    weight.data = base.data
    return True


def _same(weight: torch.Tensor, base: torch.Tensor) -> bool:
    """Equal, or an embedding that was only lengthened by tokens that the policy does not have."""
    alike = weight.dtype == base.dtype and weight.shape[1:] == base.shape[1:] and len(weight) >= len(base)
    return alike and torch.equal(weight[: len(base)], base)
