"""ZeRO stage 3: each process has a piece of everything."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ser_core.learn.compute import ranks
from ser_core.learn.compute.engine import MOMENTS
from ser_core.learn.compute.pieces import cut_all, cut_layers, piece_of
from ser_core.learn.compute.placing import numbers_for_all, replace_weights
from ser_core.learn.compute.saved_tensors import key_of
from ser_core.learn.compute.sharded.sharded_state import ShardedStateEngine
from ser_core.learn.compute.unread import release


class ShardedWeightsEngine(ShardedStateEngine):
    """ZeRO stage 3: each rank holds its piece of everything."""

    def _cut(self, network: nn.Module, config: Mapping[str, Any]) -> None:
        """One weight is whole at a time: a device may have no room for all."""
        import deepspeed

        numbers = numbers_for_all(network, self._device)
        before = list(network.parameters())
        # What has no numbers cannot get any.
        weights: list[Any] = [nn.Parameter(torch.empty(0), weight.requires_grad) if weight.is_meta else weight for weight in before]
        replace_weights(network, {id(old): new for old, new in zip(before, weights, strict=True)})
        for old, new in zip(before, weights, strict=True):
            new.data = numbers(old)
            release(old)
            if new is weights[0]:
                deepspeed.zero.Init(module=nn.ParameterList([new]), config_dict_or_path=dict(config), dtype=torch.float32)
            else:
                weights[0].convert_to_zero_parameters(param_list=[new])

    def rest(self) -> None:
        """As `Engine` says. A weight on its way can be neither gathered by others nor cut."""
        self.network.optimizer.empty_partition_cache()

    def put_back(self, weights: Mapping[str, torch.Tensor]) -> None:
        """As `Engine` says."""
        self.rest()
        super().put_back(weights)

    def weights(self) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        found = {name: self._owned(weight, moments=False) for name, weight in self._weights.items()}
        return {
            key_of(name, start, len(owned["weight"]), shape): owned["weight"].detach().to("cpu", copy=True)
            for name, (start, shape, owned) in found.items()
            if owned
        }

    def own(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """As `Engine` says."""
        places = {name: self._place(weight) for name, weight in self._weights.items()}
        wholes = ((name, weights[name], start, count) for name, (start, count) in places.items() if count)
        return {
            key_of(name, start, count, whole.shape): whole.flatten()[start : start + count].clone() for name, whole, start, count in wholes
        }

    def _overwrite(self, name: str, weight: Any, values: Mapping[str, torch.Tensor]) -> None:
        """Put the pieces of all ranks together, and cut the weight again."""
        import deepspeed

        start, count = self._place(weight)
        piece = torch.zeros(weight.ds_tensor.numel(), device=self._device)
        if count:
            piece[:count] = values[key_of(name, start, count, weight.ds_shape)].flatten()
        whole = ranks.collect(piece).flatten()[: weight.ds_numel].view(weight.ds_shape)
        with deepspeed.zero.GatheredParameters([weight], modifier_rank=0):
            weight.data.copy_(whole)

    def _place(self, weight: Any) -> tuple[int, int]:
        """Number of the first of a weight's numbers that this rank owns, and how many it owns."""
        length = weight.ds_tensor.numel()
        return length * ranks.rank(), max(0, min(length, weight.ds_numel - length * ranks.rank()))  # the last pieces are padded

    def drop(self) -> None:
        """As `Engine` says."""
        self.rest()
        super().drop()

    def close(self) -> None:
        """As `Engine` says."""
        self.drop()
        if self._sharding.pieces:
            learnt_all = all(weight.requires_grad for weight in self._whole.parameters())
            (cut_all if learnt_all else cut_layers)(self._whole, self._device, numbers=self._full)
        else:
            weights = self._whole.parameters()
            replace_weights(self._whole, {id(weight): nn.Parameter(self._full(weight), weight.requires_grad) for weight in weights})

    def _full(self, weight: nn.Parameter) -> torch.Tensor:
        import deepspeed

        with deepspeed.zero.GatheredParameters([weight]):
            return weight.detach().clone()

    def _owned(self, weight: Any, *, moments: bool) -> tuple[int, Sequence[int], dict[str, torch.Tensor]]:
        from deepspeed.utils import safe_get_local_fp32_param, safe_get_local_optimizer_state

        start, count = self._place(weight)
        if not count:
            return 0, weight.ds_shape, {}
        owned = {"weight": safe_get_local_fp32_param(weight)}
        owned |= {moment: safe_get_local_optimizer_state(weight, moment) for moment in MOMENTS if moments}
        return start, weight.ds_shape, {kind: values.flatten()[:count] for kind, values in owned.items()}

    def _pieces(self, sharded: Any) -> list[torch.Tensor]:
        pieces: list[torch.Tensor] = sharded.fp32_partitioned_groups_flat
        return pieces

    def _moments_made(self, sharded: Any) -> None:
        """DeepSpeed finds them without being told."""

    def _set_moment(self, weight: Any, moment: str, value: torch.Tensor) -> None:
        from deepspeed.utils import safe_set_local_optimizer_state

        # DeepSpeed's own way of cutting fails for weights whose size is no multiple of the number of ranks.
        safe_set_local_optimizer_state(weight, piece_of(value, weight.ds_tensor.numel()), moment)
