"""A watch's answers, for trainings of every kind."""

from dataclasses import replace
from typing import TypeVar

from ser_core.learn.policy.supervised import FineTuningState
from ser_core.learn.reward.training import TrainingState

State = TypeVar("State", TrainingState, FineTuningState)


def kept(state: State) -> State:
    """A copy that the training does not change."""
    return replace(state, tensors={name: tensor.clone() for name, tensor in state.tensors.items()})


class Answers:
    """Stops when told, and keeps what it was told to come.

    Args:
        stop_after_questions: How often it says no before it asks to stop; None: always.
        always_due: Whether a checkpoint is due after every step.
    """

    def __init__(self, *, stop_after_questions: int | None = None, always_due: bool = False) -> None:
        self.told: list[str] = []
        self._questions_left = stop_after_questions
        self._always_due = always_due

    def stopping(self) -> bool:
        if self._questions_left is None:
            return False
        self._questions_left -= 1
        return self._questions_left < 0

    def checkpoint_due(self) -> bool:
        return self._always_due

    def silent(self, phase: str) -> None:
        self.told.append(phase)
