"""How far a retrain is: each event moves the position on, and a checkpoint holds all of it."""

import json

import numpy as np
import pytest
import torch

from ser_core.data.tables import PairScores, TrainingStep
from ser_core.learn.reward.training import TrainingState
from ser_core.learn.text.reference_text import Form
from ser_jobs.training.retrain.training_position import Position

STATE = TrainingState(
    {"weight": torch.tensor([1.0, 2.0])}, (TrainingStep(1, 0.5, 0.01, 1.0, 8, 100), TrainingStep(2, 0.4, 0.01, 1.0, 8, 90))
)

SCORES = PairScores("seed01", 0.5, 0.0, 3, 2)


def test_a_finished_fold_leaves_its_scores_and_the_number_of_its_steps():
    trained = Position.start(3).after_step(8).after_step(8).with_training(STATE)
    finished = trained.after_fold([SCORES]).after_fold([PairScores("seed02", 0.0, 0.25, 4, 5)])

    assert (trained.folds, trained.step, trained.answers) == (0, 2, 32)
    assert (finished.folds, finished.step, finished.answers, finished.training) == (2, 2, 36, None)
    assert finished.held_back == ((SCORES,), (PairScores("seed02", 0.0, 0.25, 4, 5),))


def test_a_collapsed_model_is_forgotten_but_not_its_steps():
    trained = Position.start(3).after_step(8).after_step(8).with_training(STATE).with_scores(0, np.ones((3, 2)))
    again = trained.after_collapse("bad")
    assert (again.training, again.step, again.answers, again.collapsed) == (None, 2, trained.answers, ("bad",))
    assert np.isnan(again.scores).all()
    assert (again.repeats, again.thrown_away, again.after_fold([SCORES]).repeats) == (1, 2 * (8 + 8) + 6, 0)


def test_the_rest_of_a_trial_that_has_diverged_is_left_out():
    begun = Position.start(3).after_step(8).with_training(STATE).after_fold([SCORES]).after_step(8).with_training(STATE)
    left = begun.after_divergence(0, "nan", folds=4, kept=18)
    assert (left.folds, left.left_out, left.training, left.step, left.diverged) == (4, (1, 2, 3), None, 4, ((0, "nan"),))
    assert (left.answers, left.thrown_away) == (begun.answers, 16)
    assert left.after_fold([SCORES]).left_out == (1, 2, 3)


def test_scores_of_the_evaluation_count_once():
    start = Position.start(3)
    half = start.with_scores(1, np.array([[0.5, np.nan]]))
    whole = half.with_scores(1, np.array([[0.5, 1.5], [2.5, 3.5]]))

    assert np.isnan(start.scores).all()
    assert (half.answers, whole.answers) == (1, 4)
    assert whole.scores[1:].tolist() == [[0.5, 1.5], [2.5, 3.5]]


@pytest.mark.parametrize("state", [STATE, None])
def test_a_checkpoint_gives_back_the_position(tmp_path, state):
    position = Position(np.array([[0.5, np.nan]]), 1, ((SCORES,),), ((0.5, -1.0),), ("dead",), ("bad",), ((0, "nan"),), 1, 12, 3, 49, state)

    read = Position.read(position.write(tmp_path))

    assert (read.folds, read.held_back, read.step, read.answers) == (1, ((SCORES,),), position.step, 49)
    assert (read.sampled, read.collapsed, read.repeats, read.thrown_away) == (((0.5, -1.0),), ("bad",), 1, 12)
    assert (read.dead, read.diverged) == (("dead",), ((0, "nan"),))
    np.testing.assert_array_equal(read.scores, position.scores)
    assert (read.training is None) == (state is None)
    if state:
        assert read.training.history == state.history
        assert torch.equal(read.training.tensors["weight"], state.tensors["weight"])


def test_the_names_in_a_checkpoint_are_those_that_earlier_versions_wrote(tmp_path):
    files = Position(np.zeros((1, 2)), 1, ((SCORES,),), ((0.5,),), ("",), (), (), 0, 0, 3, 49, STATE).write(tmp_path)

    assert {name: path.name for name, path in files.items()} == {
        name: name for name in ("progress.json", "scores.npy", "state.safetensors", "history.json")
    }
    told = {"folds": 1, "stepsBefore": 3, "answers": 49}
    new = {
        "heldBack": [[["seed01", 0.5, 0.0, 3, 2]]],
        "sampled": [[0.5]],
        "dead": [""],
        "collapsed": [],
        "diverged": [],
        "repeats": 0,
        "thrownAway": 0,
        "form": "one text of words",
    }
    assert json.loads(files["progress.json"].read_text()) == {**told, **new}
    files["progress.json"].write_text(json.dumps({**told, "margins": {"seed01": 0.5}}))
    assert Position.read(files).held_back == ((PairScores("seed01", 0.5, 0.0, 0, 0),),), "version 0.1.0 kept the margins alone"


def test_a_fold_that_an_earlier_version_has_finished_is_not_called_dead(tmp_path):
    files = Position.start(3).after_fold([SCORES], (), "dead").write(tmp_path)
    assert Position.read(files).dead == ("dead",)
    numbers = json.loads(files["progress.json"].read_text())
    files["progress.json"].write_text(json.dumps({name: value for name, value in numbers.items() if name != "dead"}))
    assert Position.read(files).after_fold([SCORES], (), "bad").dead == ("", "bad")


def test_a_training_that_version_0_1_0_has_begun_goes_on_with_two_texts(tmp_path):
    files = Position(np.zeros((1, 2))).write(tmp_path)
    assert Position.read(files).form is Form.ONE_TEXT
    numbers = json.loads(files["progress.json"].read_text())
    files["progress.json"].write_text(json.dumps({name: value for name, value in numbers.items() if name != "form"}))
    assert Position.read(files).form is Form.TWO_TEXTS
