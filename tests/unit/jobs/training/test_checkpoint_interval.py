"""Saving takes less than 2 % of the time, whatever a checkpoint costs, and rank 0 alone decides when."""

import pytest

from ser_core.api.status import StageKind
from ser_jobs.training.checkpoint_interval import CheckpointInterval
from ser_jobs.training.stage_watch import StageWatch


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("cost", "beside", "wait"), [(0.125, 0, 10), (1, 0, 50), (64, 0, 3200), (0.5, 1, 125)])
def test_the_next_checkpoint_waits_fifty_times_what_the_last_one_cost(cost, beside, wait):
    clock = Clock()
    interval = CheckpointInterval(lambda: beside, clock)
    interval.due()
    clock.now += cost  # weights are gathered and files written, before the checkpoint is saved
    interval.saved()
    clock.now += wait - 0.125
    assert not interval.due()
    clock.now += 0.125
    assert interval.due()
    assert (cost + 2 * beside) / (cost + wait) < 0.02


def test_only_the_first_process_says_when(workshop, monkeypatch):
    monkeypatch.setattr(CheckpointInterval, "due", lambda _: True)
    watches = [StageWatch(workshop.context(StageKind.PPO, rank=rank, world_size=2), "cpu") for rank in range(2)]
    assert [watch.checkpoint_due() for watch in watches] == [True, False]
