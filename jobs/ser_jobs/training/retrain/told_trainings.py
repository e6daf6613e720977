"""What a retrain notes of trainings that went wrong. Pure."""

from collections.abc import Iterator

from ser_jobs.training.retrain.training_position import Position


def told(position: Position, chosen: slice, why: str) -> Iterator[str]:
    """Which models do not hold, which trials were left out, and why trainings were repeated.

    Args:
        position: At the end.
        chosen: Places of the folds beside the reward model.
        why: What is wrong with the reward model; empty: nothing.
    """
    if why:
        yield f"the reward model still does not hold after {position.repeats + 1} trainings: {why}"
    dead = enumerate(position.dead[chosen], 1)
    yield from (f"the model of fold {fold} still does not hold: {reason}" for fold, reason in dead if reason)
    yield from (f"training.search leaves out a trial that diverged: {seen}" for _, seen in position.diverged)
    yield from (f"a training collapsed and was repeated: {one}" for one in position.collapsed)
