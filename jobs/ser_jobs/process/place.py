"""Which of the processes of a stage this one is: torchrun's variables, as the supervisor sets them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One process among those that compute a stage together.

    Attributes:
        rank: Its number among all; 0 commits, reports and is the one whose progress is shown.
        local_rank: Its number within its pod, which is that of its GPU.
        world_size: How many there are.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it speaks for all."""
        return self.rank == 0


def from_environment(environment: Mapping[str, str]) -> Place:
    """The place that ``RANK``, ``LOCAL_RANK`` and ``WORLD_SIZE`` say; alone without them."""
    return Place(*(int(environment.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))))
