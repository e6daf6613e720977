"""The stage `label`, on a real store."""

from itertools import count

import numpy as np
import pytest
from plain_models import write_plain

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import Decision, PairScores, PoolPair, read_table
from ser_core.errors import Interrupted
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_pairs
from ser_jobs.stages.label import body


@pytest.fixture
def labeling(workshop, bert, tmp_path):
    model = tmp_path / "labeler"
    write_plain(load(bert, Precision("cpu"), max_length=64), model)
    workshop.give(InputRole.LABELER, model=model)
    workshop.model = model
    return workshop


def labels(output):
    return read_table(output.files["labels.parquet"], PairScores)


def test_it_scores_every_pair_of_the_pool_in_order(labeling):
    output = labeling.run(body, StageKind.LABEL, 1)
    pool = read_table(labeling.context(StageKind.LABEL).fetch(InputRole.PREPARED, "pool.parquet"), PoolPair)
    expected, _ = score_pairs(load(labeling.model, Precision("cpu"), max_length=64), pool, 256, np.full((16, 2), np.nan))
    assert labels(output) == expected
    assert (output.metrics.labeled, output.metrics.truncated) == (16, 0)
    assert labeling.events.shown[-1] == (16, 16, "pairs")


def test_interrupted_after_any_batch_it_goes_on_from_there_to_the_same_scores(labeling):
    undisturbed = labels(labeling.run(body, StageKind.LABEL, 1))
    questions = count()
    with pytest.raises(Interrupted):
        labeling.run(body, StageKind.LABEL, 2, stopping=lambda: next(questions) == 0)
    batches = len(labeling.events.shown)
    assert labels(labeling.run(body, StageKind.LABEL, 2)) == undisturbed
    assert len(labeling.events.shown) == 2 * (batches - 1)  # the interrupted attempt's one batch was not computed again


def test_rule_reference_labels_only_what_the_loop_before_left(labeling):
    seen = [Decision(f"pool{number:02}", 0, 0, 1, 0.5, 0, number < 4, 1, 1, None) for number in range(10)]
    labeling.give(InputRole.KEPT_BEFORE, {"decisions.parquet": (Decision, seen)})
    found = [pair.id for pair in labels(labeling.run(body, StageKind.LABEL, 3, rule="reference"))]
    assert found == [f"pool{number:02}" for number in range(4, 10)]
    assert len(labels(labeling.run(body, StageKind.LABEL, 3, rule="paper"))) == 16


def test_the_labels_are_the_same_to_the_last_bit_for_any_number_of_processes(labeling):
    alone = labeling.run(body, StageKind.LABEL, 1)
    for iteration, world_size in ((2, 2), (3, 5), (4, 20)):  # with 20 some have no pair at all
        *others, last = (labeling.run(body, StageKind.LABEL, iteration, rank=rank, world_size=world_size) for rank in range(world_size))
        assert others == [None] * (world_size - 1)
        assert labels(last) == labels(alone)
        assert last.metrics == alone.metrics


def test_a_lost_part_alone_is_computed_again(labeling):
    undisturbed = labels(labeling.run(body, StageKind.LABEL, 1))
    labeling.run(body, StageKind.LABEL, 2, rank=0, world_size=2)
    with pytest.raises(Interrupted):
        labeling.run(body, StageKind.LABEL, 2, rank=1, world_size=2, stopping=lambda: True)
    labeling.events.shown.clear()
    assert labeling.run(body, StageKind.LABEL, 2, rank=0, world_size=2) is None
    assert labeling.events.shown == []
    assert labels(labeling.run(body, StageKind.LABEL, 2, rank=1, world_size=2)) == undisturbed


def test_who_comes_after_the_stage_was_committed_and_its_parts_deleted_leaves_it_alone(labeling):
    for rank in (0, 1):
        labeling.run(body, StageKind.LABEL, 2, rank=rank, world_size=2)
    labeling.context(StageKind.LABEL, 2).checkpoints.delete_all()
    assert labeling.run(body, StageKind.LABEL, 2, rank=1, world_size=2) is None
