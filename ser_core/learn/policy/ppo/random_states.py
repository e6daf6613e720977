"""The states of torch's random generators: with them a resumed run samples what an undisturbed run would sample."""

from dataclasses import dataclass

import numpy as np
import torch

from ser_core.learn.compute import ranks


@dataclass(frozen=True, slots=True)
class RandomStates:
    """States of the random generators of all processes, one row for each process."""

    cpu: torch.Tensor
    cuda: torch.Tensor | None
    """None: the run computes on CPUs."""

    @classmethod
    def current(cls, device: str) -> "RandomStates":
        """The current states. All processes call it together."""
        return cls(_collected(torch.get_rng_state(), device), _collected(torch.cuda.get_rng_state(), device) if device == "cuda" else None)

    def restore(self, seed: int, step: int) -> None:
        """Put this process's random generators back; with another number of processes than theirs, begin with new ones.

        Args:
            seed: Of the run.
            step: The step after which the states were taken.
        """
        if len(self.cpu) != ranks.count():
            begin(seed, step)
            return
        # Cloned, because torch needs a state that is aligned in memory, and a row of a file's tensor is not always.
        torch.set_rng_state(self.cpu[ranks.rank()].clone())
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda[ranks.rank()].clone())


def begin(seed: int, step: int = 0) -> None:
    """Give each process random generators of its own."""
    entropy = [seed, ranks.rank()] if step == 0 else [seed, ranks.rank(), step]
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _collected(state: torch.Tensor, device: str) -> torch.Tensor:
    # A process group of GPUs gathers only tensors that are on GPUs.
    return ranks.collect(state.to(device)).cpu()
