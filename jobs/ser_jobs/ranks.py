"""The ranks of this process, from torchrun's variables. The supervisor sets them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ranks:
    """One process among those that compute a stage.

    Attributes:
        rank: Its number among all. Rank 0 shows the progress of the stage.
        local_rank: Its number within its pod, which is also the number of its GPU.
        world_size: How many there are.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1


def from_environment(environment: Mapping[str, str]) -> Ranks:
    """The ranks that ``RANK``, ``LOCAL_RANK`` and ``WORLD_SIZE`` describe. Without them the process is the only one."""
    return Ranks(*(int(environment.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))))
