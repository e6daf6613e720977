"""The stage `retrain` and the controls, on a real store."""

import hashlib
import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

import ser_jobs.stages.retrain
import ser_jobs.training.retrain.retrain_plan
from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import CalibrationPair, Decision, EvaluatedPair, LabeledPair, PairGroup, PoolPair, TrainingStep, read_table
from ser_core.errors import DataError, Interrupted
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import export_stored, load
from ser_core.learn.reward.scoring import score_pairs
from ser_jobs.stages.retrain import body

SEED_MODEL = (StageKind.RETRAIN, 0)
ADAPTER = {"rank": 2, "alpha": 4}


def digests(output):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in output.files.items()}


def swapped(pairs):
    return [replace(pair, chosen=pair.rejected, rejected=pair.chosen) for pair in pairs]


def test_the_exported_model_is_the_one_that_was_evaluated(workshop):
    output = workshop.run(body, *SEED_MODEL)
    dev = read_table(output.files["dev_scores.parquet"], EvaluatedPair)
    pairs = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, "") for pair in workshop.tables["dev.parquet"][1]]
    model = load(output.files["model/config.json"].parent, Precision("cpu"), max_length=64)
    scores, _ = score_pairs(model, pairs, 256, np.full((12, 2), np.nan))
    assert [(pair.score_chosen, pair.score_rejected) for pair in dev] == [(pair.score_1, pair.score_2) for pair in scores]
    assert output.metrics.dev.accuracy == sum(pair.score_1 > pair.score_2 for pair in scores) / 12
    assert output.metrics.heldout.pairs == 12
    assert output.metrics.dev.versus_best is None
    assert (output.metrics.steps, output.metrics.seed_pairs, output.metrics.self_labeled_pairs) == (6, 24, 0)
    assert len(read_table(output.files["training.parquet"], TrainingStep)) == 6
    assert json.loads(output.files["evaluation.json"].read_text()).keys() == {"dev", "heldout"}


@pytest.mark.parametrize("stage", [StageKind.RETRAIN, StageKind.CONTROL_SEED_ONLY])
def test_its_intervals_count_groups_of_pairs(workshop, bert, stage):
    alone = workshop.run(body, stage, steps=2)
    groups = [PairGroup(pair.id, f"heldout{index // 6:02}") for index, pair in enumerate(workshop.tables["heldout.parquet"][1])]
    workshop.give(InputRole.PREPARED, {**workshop.tables, "groups.parquet": (PairGroup, groups)}, bert)
    grouped = workshop.run(body, stage, steps=2)
    widths = [one.metrics.heldout.accuracy_high - one.metrics.heldout.accuracy_low for one in (alone, grouped)]
    assert (alone.metrics.heldout.groups, grouped.metrics.heldout.groups, grouped.metrics.dev.groups) == (None, 2, 12)
    assert widths[1] > widths[0] + 0.1
    (row,) = json.loads(grouped.files["evaluation.json"].read_text())["heldout"]["sources"]
    assert row["high"] - row["low"] == widths[1]


def test_an_adapter_is_stored_as_one_and_its_export_is_what_was_evaluated(workshop, tmp_path):
    workshop.give_output(InputRole.LABELER, workshop.run(body, *SEED_MODEL, adapter=ADAPTER))
    labeler = workshop.context(*SEED_MODEL).inputs[InputRole.LABELER].outputs
    base = workshop.context(*SEED_MODEL).inputs[InputRole.PREPARED].outputs["model/model.safetensors"]
    assert labeler["model/base/model.safetensors"] == base, "the base's own file, not a copy"

    kept = Decision("pool00", 1.0, 0.0, 1, 0.9, 1, kept=True, target=1.0, weight=1.0, agrees=None)
    workshop.give(InputRole.KEPT, {"decisions.parquet": (Decision, [kept])})
    context = workshop.context(StageKind.RETRAIN, 1, adapter=ADAPTER, retrain_from="previous")
    output = body(context)
    assert output.stored["model/base/base/model.safetensors"] == base
    assert output.stored["model/base/adapter_model.safetensors"] == labeler["model/adapter_model.safetensors"]

    export_stored(output.files["model/adapter_config.json"].parent, tmp_path / "plain")
    dev = read_table(output.files["dev_scores.parquet"], EvaluatedPair)
    assert [(pair.score_chosen, pair.score_rejected) for pair in dev] == scored(workshop, tmp_path / "plain")


def scored(workshop, folder):
    """Scores of the dev pairs by the model in a folder."""
    pairs = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, "") for pair in workshop.tables["dev.parquet"][1]]
    found, _ = score_pairs(load(folder, Precision("cpu"), max_length=64), pairs, 256, np.full((12, 2), np.nan))
    return [(pair.score_1, pair.score_2) for pair in found]


def test_progress_ends_at_its_total(workshop):
    workshop.run(body, *SEED_MODEL)
    steps = [step for step, _, _ in workshop.events.shown]
    assert steps == sorted(steps)
    assert steps[0] == 0
    # twice 24 pairs, four folds of twice 18, all 24 held back once, 12 dev, 12 held-out
    assert workshop.events.shown[-1] == (48 + 144 + 24 + 24, 240, "pairs")


def test_a_small_dev_part_is_joined_by_cross_fitted_pairs_in_units_of_one_temperature(workshop):
    output = workshop.run(body, *SEED_MODEL)
    rows = read_table(output.files["calibration.parquet"], CalibrationPair)
    dev = {pair.id: pair.score_chosen - pair.score_rejected for pair in read_table(output.files["dev_scores.parquet"], EvaluatedPair)}
    assert {row.id: row.margin * output.metrics.temperature for row in rows if row.origin == "dev"} == pytest.approx(dev)
    assert sorted(row.id for row in rows if row.origin == "cross-fit") == [f"seed{number:02}" for number in range(24)]


def test_a_cross_fitted_pair_is_scored_by_a_model_that_never_saw_it(workshop, monkeypatch):
    trained, scored = [], []
    encode, score = ser_jobs.stages.retrain._encoded, ser_jobs.stages.retrain.TrainingProgress.score_fold
    monkeypatch.setattr(
        ser_jobs.stages.retrain, "_encoded", lambda model, examples: trained.append({one.id for one in examples}) or encode(model, examples)
    )
    monkeypatch.setattr(
        ser_jobs.stages.retrain.TrainingProgress,
        "score_fold",
        lambda self, model, pairs: scored.append({pair.id for pair in pairs}) or score(self, model, pairs),
    )
    workshop.run(body, *SEED_MODEL)
    assert len(trained) == 5
    for seen, held_back in zip(trained[:4], scored, strict=True):
        assert not seen & held_back
        assert len(seen | held_back) == 24
    assert not any(name.startswith(("dev", "heldout", "pool")) for seen in trained for name in seen)


def test_enough_dev_pairs_need_no_cross_fitting(workshop, monkeypatch):
    monkeypatch.setattr(ser_jobs.training.retrain.retrain_plan, "CROSS_FIT_BELOW", 12)
    rows = read_table(workshop.run(body, *SEED_MODEL).files["calibration.parquet"], CalibrationPair)
    assert {row.origin for row in rows} == {"dev"}


def test_interrupted_anywhere_and_resumed_it_makes_the_same_files(workshop):
    questions = count()
    undisturbed = digests(workshop.run(body, *SEED_MODEL, stopping=lambda: next(questions) < 0))
    total = next(questions)
    for share in (0.2, 0.8, 0.99):  # in a fold, in the training, in the evaluation
        asked = count()
        with pytest.raises(Interrupted):
            workshop.run(body, *SEED_MODEL, stopping=lambda asked=asked, share=share: next(asked) >= int(share * total))
        again = count()
        assert digests(workshop.run(body, *SEED_MODEL, stopping=lambda again=again: next(again) < 0)) == undisturbed
        assert workshop.events.shown[-1][0] == workshop.events.shown[-1][1]
        assert next(again) <= total - int(share * total) + 1  # nothing is computed twice but what was cut short
        workshop.context(*SEED_MODEL).checkpoints.delete_all()


def test_held_out_labels_change_nothing_but_the_held_out_evaluation(workshop):
    first = workshop.run(body, *SEED_MODEL)
    tables = workshop.tables | {"heldout.parquet": (LabeledPair, swapped(workshop.tables["heldout.parquet"][1]))}
    workshop.give(InputRole.PREPARED, tables, first.files["model/config.json"].parent.parent / "inputs" / "prepared" / "model")
    second = workshop.run(body, *SEED_MODEL)
    changed = {name for name, digest in digests(second).items() if digest != digests(first)[name]}
    assert changed == {"heldout_scores.parquet", "evaluation.json"}
    assert second.metrics.model_copy(update={"heldout": first.metrics.heldout}) == first.metrics
    assert second.metrics.heldout.accuracy == pytest.approx(1 - first.metrics.heldout.accuracy)


def test_a_later_loop_is_compared_with_the_best_and_inherits_the_cross_fitted_pairs(workshop):
    seed_model = workshop.run(body, *SEED_MODEL)
    workshop.give_output(InputRole.LABELER, seed_model)
    workshop.give_output(InputRole.BEST, seed_model)
    kept = [Decision(f"pool{number:02}", 1.0, 0.0, 1 + number % 2, 0.9, 1, True, 0.9, 1.0, None) for number in range(16)]
    workshop.give(InputRole.KEPT, {"decisions.parquet": (Decision, kept)})
    output = workshop.run(body, StageKind.RETRAIN, 1)
    assert (output.metrics.seed_pairs, output.metrics.self_labeled_pairs, output.metrics.steps) == (24, 16, 10)
    versus = output.metrics.dev.versus_best
    gain = (versus.only_this - versus.only_best) / 12
    assert output.metrics.dev.accuracy - seed_model.metrics.dev.accuracy == pytest.approx(gain)

    def crossed(made):
        return [row for row in read_table(made.files["calibration.parquet"], CalibrationPair) if row.origin == "cross-fit"]

    assert crossed(output) == crossed(seed_model)
    assert len(crossed(output)) == 24


def test_seed_only_takes_the_steps_that_it_is_told(workshop):
    workshop.give_output(InputRole.BEST, workshop.run(body, *SEED_MODEL))
    output = workshop.run(body, StageKind.CONTROL_SEED_ONLY, 0, steps=7)
    assert output.metrics.steps == len(read_table(output.files["training.parquet"], TrainingStep)) == 7
    assert output.metrics.heldout.versus_best is not None
    assert workshop.events.shown[-1][0] == workshop.events.shown[-1][1]


def test_nothing_to_evaluate_on_is_an_error_that_says_what_is_missing(workshop, bert):
    workshop.give(InputRole.PREPARED, workshop.tables | {"dev.parquet": (LabeledPair, [])}, bert)
    with pytest.raises(DataError, match="no dev pair"):
        workshop.run(body, *SEED_MODEL)
