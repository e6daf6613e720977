"""Bytes of all tensors that live, and the most that lived at once, counted operation by operation."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts while it is entered; a tensor that is older has to be named with `know`."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.most = 0
        self._known: dict[int, int] = {}

    def know(self, tensor: torch.Tensor) -> None:
        """Count the memory of a tensor, once."""
        storage = tensor.untyped_storage()
        if tensor.device.type == "meta" or storage._cdata in self._known:
            return
        self._known[storage._cdata] = storage.nbytes()
        self.live += storage.nbytes()
        self.most = max(self.most, self.live)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, storage: int) -> None:
        self.live -= self._known.pop(storage)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        found = function(*arguments, **(options or {}))
        for tensor in (found,) if isinstance(found, torch.Tensor) else tree_leaves(found):
            if isinstance(tensor, torch.Tensor):
                self.know(tensor)
        return found
