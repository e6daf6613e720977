"""Sums over all processes of ``torch.distributed``. Without a process group each is the identity.

Every function here is collective: all processes call it at the same point. Nothing may be called in a loop whose length differs
between them.
"""

from collections.abc import Iterable

import torch
from torch import distributed


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if _several() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if _several() else 1


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum over the processes; same shape."""
    if _several():
        values = values.clone()
        distributed.all_reduce(values)
    return values


def anywhere(flag: bool, device: str) -> bool:
    """Whether ``flag`` is set in any process, so that all take the same way."""
    return bool(total(torch.tensor(float(flag), device=device)) > 0)


def meet(device: str) -> None:
    """Go on once all processes are here: none ends before the others have saved, since the end of one may be the end of all."""
    anywhere(False, device)


def most(number: int, device: str) -> int:
    """The largest number that any process has."""
    return int(collect(torch.tensor(number, device=device)).max())


def collect(values: torch.Tensor) -> torch.Tensor:
    """One row for each process, shape (processes, ...)."""
    if not _several():
        return values.unsqueeze(0)
    rows = [torch.empty_like(values) for _ in range(count())]
    distributed.all_gather(rows, values)
    return torch.stack(rows)


def spread(tensors: Iterable[torch.Tensor]) -> None:
    """Give all processes the first one's values."""
    if _several():
        for tensor in tensors:
            distributed.broadcast(tensor.data, src=0)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()
