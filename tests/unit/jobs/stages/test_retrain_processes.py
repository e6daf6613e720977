"""The stage `retrain` in two processes, on gloo."""

import io
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from ports import free_port
from unit.jobs.processes import process
from unit.learn.processes import together

from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import CalibrationPair, EvaluatedPair, TrainingStep, read_table
from ser_jobs.stages.retrain import body

pytestmark = pytest.mark.timeout(600)


def table(content, row):
    return read_table(io.BytesIO(content), row)


@pytest.fixture
def retrained(workshop, tmp_path):
    """One retrain by one process, one by two, one that is stopped in the last training, and one that goes on from there."""
    alone = workshop.run(body, StageKind.RETRAIN, 0)
    workshop.context(StageKind.RETRAIN, 0).checkpoints.delete_all()
    context = workshop.context(StageKind.RETRAIN, 0)
    together(process, 2, free_port(), [None, 190, None], context.spec, workshop.folder / "store", dict(context.inputs), tmp_path)
    return alone, *(torch.load(tmp_path / f"results-{rank}.pt", weights_only=False) for rank in range(2))


def test_two_processes_make_what_one_makes_and_resume_exactly(retrained):
    alone, (whole, stopped, resumed), others = retrained
    assert others == [None, stopped, None]
    assert stopped.startswith("stopped after optimizer step")
    assert resumed.keys() == whole.keys()
    assert [name for name in whole if name != "shown" and resumed[name] != whole[name]] == []

    assert whole.keys() - {"metrics", "shown"} == alone.files.keys()
    steps = table(whole["training.parquet"], TrainingStep)
    for step, expected in zip(steps, read_table(alone.files["training.parquet"], TrainingStep), strict=True):
        assert (step.step, step.pairs, step.tokens) == (expected.step, expected.pairs, expected.tokens)
        assert step.loss == pytest.approx(expected.loss, abs=1e-4)
    for name in ("dev_scores.parquet", "heldout_scores.parquet"):
        for pair, expected in zip(table(whole[name], EvaluatedPair), read_table(alone.files[name], EvaluatedPair), strict=True):
            assert (pair.id, pair.tokens_chosen) == (expected.id, expected.tokens_chosen)
            assert pair.score_chosen == pytest.approx(expected.score_chosen, abs=1e-2)
    crossed = table(whole["calibration.parquet"], CalibrationPair)
    assert [pair.id for pair in crossed] == [pair.id for pair in read_table(alone.files["calibration.parquet"], CalibrationPair)]
    assert whole["shown"] == sorted(whole["shown"])
    assert whole["shown"][-1] == 240
    assert (
        safetensors.torch.load(whole["model/model.safetensors"]).keys()
        == safetensors.torch.load_file(alone.files["model/model.safetensors"]).keys()
    )


def test_a_trial_of_which_one_process_alone_meets_a_score_that_is_not_finite_is_left_out_by_both(workshop, bert, tmp_path):
    row, (first, *others) = workshop.tables["seed.parquet"]
    workshop.give(InputRole.PREPARED, workshop.tables | {"seed.parquet": (row, [replace(first, prompt="a"), *others])}, bert)
    context = workshop.context(StageKind.RETRAIN, 0, folds=2, search={"learningRates": [0.02, 0.01]})
    arguments = ([None], context.spec, workshop.folder / "store", dict(context.inputs), tmp_path, None, (0.02, "a"))
    together(process, 2, free_port(), *arguments)
    (found,) = torch.load(tmp_path / "results-0.pt", weights_only=False)
    assert found["metrics"].learning_rate == 0.01
    assert "training.search leaves out a trial that diverged: learningRate 0.02" in found["metrics"].notes[0]
