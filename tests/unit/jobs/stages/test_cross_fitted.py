"""Rule calibrated in its stages: fold models that never see their fold, in no loop; what they label; what decides."""

import hashlib
from itertools import count
from math import nan

import numpy as np
import pytest

import ser_jobs.stages.retrain
import ser_jobs.training.retrain.judge
from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import (
    CalibrationPair,
    Decision,
    EvaluatedPair,
    FoldDecision,
    FoldScores,
    PairGroup,
    PairScores,
    PoolPair,
    read_table,
)
from ser_core.errors import DataError, Interrupted, QualityError
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.scoring import score_pairs
from ser_jobs.stages import filter as filter_stage
from ser_jobs.stages import label, retrain
from ser_jobs.training.retrain.retrain_plan import make_plan
from ser_jobs.training.retrain.training_data import Example, TrainingData, groups_of, training_data

FOLDS = {"folds": 2}
BUDGET = 36
"""Pairs with human labels: 24 of the seed and 12 of its dev part."""


def digests(output):
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in output.files.items()}


def table(output, name, row):
    return read_table(output.files[name], row)


@pytest.fixture
def learnt(monkeypatch):
    """What every training has learnt, in their order."""
    trained = []
    encoded = ser_jobs.stages.retrain._encoded
    monkeypatch.setattr(
        ser_jobs.stages.retrain, "_encoded", lambda model, examples: trained.append(list(examples)) or encoded(model, examples)
    )
    return trained


def a_loop(workshop, number, before, **settings):
    """Label, filter and retrain after the reward model ``before``."""
    workshop.give_output(InputRole.LABELER, before)
    workshop.give_output(InputRole.BEST, before)
    labels = workshop.run(label.body, StageKind.LABEL, number, **FOLDS)
    workshop.give_output(InputRole.LABELS, labels)
    kept = workshop.run(filter_stage.body, StageKind.FILTER, number, **FOLDS)
    workshop.give_output(InputRole.KEPT, kept)
    return labels, kept, workshop.run(retrain.body, StageKind.RETRAIN, number, **FOLDS, **settings)


@pytest.fixture
def seed_model(workshop):
    return workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)


def test_every_label_trains_the_reward_model_and_is_scored_by_a_model_that_has_not_seen_it(workshop, learnt):
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    first, second, last = ({one.id for one in pairs} for pairs in learnt)
    assert not first & second
    assert first | second == last
    assert len(last) == BUDGET == output.metrics.seed_pairs == output.metrics.dev.pairs
    dev = table(output, "dev_scores.parquet", EvaluatedPair)
    pairs = {pair.id: pair for name in ("seed.parquet", "dev.parquet") for pair in workshop.tables[name][1]}
    assert [pair.id for pair in dev] == list(pairs)
    for fold, seen in enumerate((first, second)):
        held_back = [pairs[name] for name in pairs if name not in seen]
        scores = scored(output.files[f"folds/{fold}/config.json"].parent, held_back)
        own = {pair.id: pair.score_chosen - pair.score_rejected for pair in dev if pair.id not in seen}
        assert own == pytest.approx(scores)
    margins = [row.margin * output.metrics.temperature for row in table(output, "calibration.parquet", CalibrationPair)]
    assert margins == pytest.approx([pair.score_chosen - pair.score_rejected for pair in dev])
    assert (output.metrics.folds, output.metrics.loss_gain) == (2, None)
    assert workshop.events.shown[-1] == (276, 276, "pairs")
    # twice 36, two folds of twice 18, 36 held back once, 36 learnt ones, three times 16 of the pool, 12 held-out


def scored(folder, pairs):
    unlabeled = [PoolPair(pair.id, pair.prompt, pair.chosen, pair.rejected, "") for pair in pairs]
    found, _ = score_pairs(load(folder, Precision("cpu"), max_length=64), unlabeled, 256, np.full((len(pairs), 2), np.nan))
    return {one.id: one.score_1 - one.score_2 for one in found}


def test_interrupted_anywhere_and_resumed_it_makes_the_same_files(workshop):
    questions = count()
    kind = (StageKind.RETRAIN, 0)
    undisturbed = digests(workshop.run(retrain.body, *kind, stopping=lambda: next(questions) < 0, **FOLDS))
    total = next(questions)
    for share in (0.2, 0.5, 0.95):  # in the first fold, in the second, in the last training
        asked = count()
        with pytest.raises(Interrupted):
            workshop.run(retrain.body, *kind, stopping=lambda asked=asked, share=share: next(asked) >= int(share * total), **FOLDS)
        again = count()
        assert digests(workshop.run(retrain.body, *kind, stopping=lambda again=again: next(again) < 0, **FOLDS)) == undisturbed
        # Nothing is computed twice but what was cut short: a step, or what a fold scores.
        assert next(again) <= total - int(share * total) + 6
        workshop.context(*kind).checkpoints.delete_all()


def test_a_fold_model_that_is_gone_is_trained_again(workshop):
    kind = (StageKind.RETRAIN, 0)
    undisturbed = digests(workshop.run(retrain.body, *kind, **FOLDS))
    asked = count()
    with pytest.raises(Interrupted):
        workshop.run(retrain.body, *kind, stopping=lambda: next(asked) > 40, **FOLDS)
    workshop.context(*kind).checkpoints.of("fold-0").delete_all()
    assert digests(workshop.run(retrain.body, *kind, **FOLDS)) == undisturbed
    assert "checkpoint-set-aside" in workshop.events.told


def test_the_mean_of_the_fold_models_labels(workshop, seed_model):
    workshop.give_output(InputRole.LABELER, seed_model)
    output = workshop.run(label.body, StageKind.LABEL, 1, **FOLDS)
    labels, folds = table(output, "labels.parquet", PairScores), table(output, "fold_labels.parquet", FoldScores)
    assert [(row.fold, row.id) for row in folds] == [(fold, row.id) for fold in (0, 1) for row in labels]
    for row in labels:
        assert row.score_1 == np.mean([one.score_1 for one in folds if one.id == row.id])
    assert workshop.events.shown[-1] == (32, 32, "pairs")

    *others, last = (workshop.run(label.body, StageKind.LABEL, 2, rank=rank, world_size=3, **FOLDS) for rank in range(3))
    assert others == [None, None]
    assert {name: table(last, name, row) for name, row in (("labels.parquet", PairScores), ("fold_labels.parquet", FoldScores))} == {
        "labels.parquet": labels,
        "fold_labels.parquet": folds,
    }


def test_labelling_that_was_interrupted_goes_on_in_the_second_fold_model(workshop, seed_model):
    workshop.give_output(InputRole.LABELER, seed_model)
    workshop.events.shown.clear()
    undisturbed = digests(workshop.run(label.body, StageKind.LABEL, 1, **FOLDS))
    batches = len(workshop.events.shown)
    asked = count()
    with pytest.raises(Interrupted):
        workshop.run(label.body, StageKind.LABEL, 2, stopping=lambda: next(asked) >= batches // 2, **FOLDS)
    assert digests(workshop.run(label.body, StageKind.LABEL, 2, **FOLDS)) == undisturbed


def test_in_a_later_loop_each_fold_learns_its_own_labels_alone(workshop, seed_model, learnt):
    labels, kept, output = a_loop(workshop, 1, seed_model)
    decisions = [one for one in table(kept, "decisions.parquet", Decision) if one.kept]
    assert (len(decisions), output.metrics.self_labeled_pairs) == (10, 10)  # of 16, three fifths
    own = {(row.fold, row.id): row.score_1 - row.score_2 for row in table(labels, "fold_labels.parquet", FoldScores)}
    for row in table(kept, "fold_decisions.parquet", FoldDecision):
        assert (row.better == 1) == (own[row.fold, row.id] > 0)
    for fold, pairs in enumerate(learnt[:2]):
        surest = sorted((name for of, name in own if of == fold), key=lambda name: -abs(own[fold, name]))[:10]
        assert {one.id for one in pairs if one.id.startswith("pool")} == set(surest)
    before = {pair.id: pair.score_chosen - pair.score_rejected for pair in table(seed_model, "dev_scores.parquet", EvaluatedPair)}
    after = {pair.id: pair.score_chosen - pair.score_rejected for pair in table(output, "dev_scores.parquet", EvaluatedPair)}
    assert before.keys() == after.keys()
    assert output.metrics.loss_gain == pytest.approx(seed_model.metrics.dev.log_loss - output.metrics.dev.log_loss)
    assert output.metrics.loss_gain_error > 0
    assert output.metrics.dev.versus_best is not None


def test_an_adapter_of_a_fold_goes_on_from_the_same_folds_adapter(workshop):
    adapted = {"adapter": {"rank": 2, "alpha": 4}}
    seed_model = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS, **adapted)
    base = workshop.context(StageKind.RETRAIN).inputs[InputRole.PREPARED].outputs["model/model.safetensors"]
    assert seed_model.stored["folds/1/base/model.safetensors"] == base
    _, _, output = a_loop(workshop, 1, seed_model, retrain_from="previous", **adapted)
    own = workshop.context(StageKind.RETRAIN).inputs[InputRole.LABELER].outputs["folds/1/adapter_model.safetensors"]
    assert output.stored["folds/1/base/adapter_model.safetensors"] == own
    assert "folds/1/adapter_model.safetensors" in output.files


def test_a_collapsed_model_is_trained_again_in_another_order_at_half_the_rate_and_that_is_said(workshop, monkeypatch):
    verdicts, settings, asked = iter(["too bad", ""] * 3), [], count()
    train = ser_jobs.stages.retrain.train

    def noted(model, pairs, spec, **how):
        settings.append((spec.seed, spec.learning_rate))
        return train(model, pairs, spec, **how)

    def in_the_second_training():
        return workshop.events.told[-1] == "collapsed" and next(asked) >= 3

    monkeypatch.setattr(ser_jobs.training.retrain.judge, "why_collapsed", lambda fit: next(verdicts))
    monkeypatch.setattr(ser_jobs.stages.retrain, "train", noted)
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    assert settings == [(0, 0.01)] * 3 + [(1, 0.005)]
    assert (output.metrics.trainings, output.metrics.notes) == (2, ("a training collapsed and was repeated: too bad",))
    assert workshop.events.shown[-1][0] == workshop.events.shown[-1][1]

    workshop.context(StageKind.RETRAIN).checkpoints.delete_all()
    with pytest.raises(Interrupted):
        workshop.run(retrain.body, StageKind.RETRAIN, 0, stopping=in_the_second_training, **FOLDS)
    assert digests(workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)) == digests(output)


def test_the_seed_model_takes_the_settings_whose_folds_do_best_and_later_loops_keep_them(workshop, learnt):
    search = {"search": {"learningRates": [1e-6, 0.01], "epochs": [2]}, **FOLDS}
    seed_model = workshop.run(retrain.body, StageKind.RETRAIN, 0, epochs=1, **search)
    assert len(learnt) == 2 * 2 + 1
    assert (seed_model.metrics.learning_rate, seed_model.metrics.epochs) == (0.01, 2)
    learnt.clear()
    *_, later = a_loop(workshop, 1, seed_model, epochs=1, search=search["search"])
    assert len(learnt) == 3
    assert (later.metrics.learning_rate, later.metrics.epochs, later.metrics.steps) == (0.01, 2, 12)
    control = workshop.run(retrain.body, StageKind.CONTROL_SEED_ONLY, 0, epochs=1, **search)
    assert control.metrics.steps == 10


def test_what_a_search_takes_is_what_these_settings_make_alone(workshop):
    searched = workshop.run(retrain.body, StageKind.RETRAIN, 0, search={"learningRates": [1e-6, 0.01]}, **FOLDS)
    workshop.context(StageKind.RETRAIN).checkpoints.delete_all()
    assert digests(searched) == digests(workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS))
    assert workshop.events.shown[-1][0] == workshop.events.shown[-1][1]


def diverging(monkeypatch, *rates, in_training=True):
    """Training number 2 of each of these rates diverges: after three steps, or once it scores."""
    train, begun = ser_jobs.stages.retrain.train, []

    def diverges(model, pairs, spec, *, resume, steps, **how):
        begun.extend([spec.learning_rate] * (resume is None))
        if spec.learning_rate not in rates or begun.count(spec.learning_rate) < 2:
            return train(model, pairs, spec, resume=resume, steps=steps, **how)
        state = train(model, pairs, spec, resume=resume, steps=3 if in_training else steps, **how)
        if in_training:
            raise QualityError("the loss is nan", reason="NonFiniteLoss", hint="lower it")
        model.network.classifier.bias.data.fill_(nan)
        return state

    monkeypatch.setattr(ser_jobs.stages.retrain, "train", diverges)
    return begun


THREE_RATES = {"search": {"learningRates": [0.02, 0.01, 1e-6]}, "folds": 3}


@pytest.mark.parametrize("in_training", [True, False])
def test_a_trial_that_diverges_is_left_out_and_that_is_said(workshop, monkeypatch, in_training):
    begun = diverging(monkeypatch, 0.02, in_training=in_training)
    searched = workshop.run(retrain.body, StageKind.RETRAIN, 0, **THREE_RATES)
    assert begun == [0.02] * 2 + [0.01] * 3 + [1e-6] * 3 + [0.01]
    (note,) = [one for one in searched.metrics.notes if "training.search" in one]
    assert note.startswith("training.search leaves out a trial that diverged: learningRate 0.02 and epochs 2, in fold 2: ")
    answered, total, _ = workshop.events.shown[-1]
    assert answered == total
    workshop.context(StageKind.RETRAIN).checkpoints.delete_all()
    assert digests(searched) == digests(workshop.run(retrain.body, StageKind.RETRAIN, 0, folds=3))


def test_a_search_that_was_interrupted_after_a_trial_diverged_makes_the_same_files(workshop, monkeypatch):
    begun, asked = diverging(monkeypatch, 0.02), count()
    undisturbed = workshop.run(retrain.body, StageKind.RETRAIN, 0, **THREE_RATES)
    workshop.context(StageKind.RETRAIN).checkpoints.delete_all()
    begun.clear()
    with pytest.raises(Interrupted):
        workshop.run(retrain.body, StageKind.RETRAIN, 0, stopping=lambda: 1e-6 in begun and next(asked) >= 9, **THREE_RATES)
    resumed = workshop.run(retrain.body, StageKind.RETRAIN, 0, **THREE_RATES)
    assert digests(resumed) == digests(undisturbed)
    assert resumed.metrics == undisturbed.metrics
    assert begun.count(0.02) == 2


def test_a_search_fails_where_each_trial_diverges(workshop, monkeypatch):
    diverging(monkeypatch, 0.02, 0.01, 1e-6)
    with pytest.raises(QualityError, match=r"all 3 trials of training\.search diverged, the last one with learningRate 1e-06") as raised:
        workshop.run(retrain.body, StageKind.RETRAIN, 0, **THREE_RATES)
    assert (raised.value.reason, raised.value.hint) == ("NonFiniteLoss", "lower it")


def test_a_model_that_collapses_every_time_is_stored_and_said_to_be_collapsed(workshop, monkeypatch):
    monkeypatch.setattr(ser_jobs.training.retrain.judge, "why_collapsed", lambda fit: "too bad")
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    assert (output.metrics.trainings, output.metrics.collapsed) == (3, True)
    assert output.metrics.notes[0] == "the reward model still does not hold after 3 trainings: too bad"


@pytest.mark.parametrize("folds", [2, None], ids=["with folds", "without"])
def test_a_model_whose_scores_are_all_equal_is_said_to_be_collapsed(workshop, monkeypatch, folds):
    for module in (ser_jobs.stages.retrain, ser_jobs.training.retrain.judge):
        monkeypatch.setattr(module, "margins_of", lambda scores: np.zeros(len(scores)))
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, folds=folds)
    assert "the reward model still does not hold after 3 trainings: the two scores of" in "".join(output.metrics.notes)
    assert output.metrics.trainings == 3 + 2 * (folds or 4)


def plan(workshop, groups, folds):
    stage = workshop.context(StageKind.RETRAIN, folds=folds).spec
    seed = [Example(name, "prompt", "good", "bad") for name in groups]
    return make_plan(stage, TrainingData(seed, groups=groups), dev=0)


def test_folds_never_tear_a_group_apart_and_too_few_groups_are_said(workshop):
    groups = {f"p{number}": f"g{number // 4}" for number in range(12)}
    made = plan(workshop, groups, folds=5)
    assert len(made.folds) == 3
    assert made.notes == ("the labelled pairs are in 3 groups, so there are 3 folds in place of 5",)
    for fold in made.folds:
        assert not {groups[one.id] for one in fold.seen} & {groups[one.id] for one in fold.held_back}
    assert len(plan(workshop, groups, folds=2).folds) == 2
    assert plan(workshop, groups, folds=2).notes == ()
    with pytest.raises(DataError, match="all 2 labelled pairs are in one group"):
        plan(workshop, {"a": "g", "b": "g"}, folds=2)


@pytest.mark.parametrize(("large", "folds", "told"), [(50, 4, False), (51, 4, True), (66, 2, False), (67, 2, True)])
def test_a_group_that_leaves_its_fold_model_little_to_learn_is_said(workshop, large, folds, told):
    groups = {f"p{number}": "large" if number < large else f"g{number}" for number in range(100)}
    made = plan(workshop, groups, folds)
    said = f"fold 1 holds back {large} of 100 labelled pairs, nearly all in one group: its model learns {100 - large}, "
    assert [note.startswith(said) for note in made.notes] == [True] * told


def test_the_groups_are_those_that_prepare_found(workshop, bert):
    groups = [PairGroup(pair.id, "seed00") for pair in workshop.tables["seed.parquet"][1]]
    workshop.give(InputRole.PREPARED, {**workshop.tables, "groups.parquet": (PairGroup, groups)}, bert)
    context = workshop.context(StageKind.RETRAIN, **FOLDS)
    found = training_data(context, groups_of(context)).groups
    assert {found[f"seed{number:02}"] for number in range(24)} == {"seed00"}
    assert found["dev03"] == "dev03"


def test_a_control_learns_every_label_and_says_what_its_dev_numbers_are(workshop, seed_model):
    workshop.give_output(InputRole.BEST, seed_model)
    output = workshop.run(retrain.body, StageKind.CONTROL_SEED_ONLY, 0, steps=7, **FOLDS)
    assert (output.metrics.seed_pairs, output.metrics.steps, output.metrics.folds) == (BUDGET, 7, None)
    assert output.metrics.temperature == pytest.approx(seed_model.metrics.temperature)
    assert output.metrics.heldout.versus_best is not None
    assert "its dev numbers are of pairs that it has seen" in output.metrics.notes[0]
    assert not any(name.startswith("folds/") for name in output.files)


def test_a_fold_model_whose_training_died_is_trained_again(workshop, monkeypatch):
    verdicts, settings = iter(["", "dead", "", ""]), []
    train = ser_jobs.stages.retrain.train

    def noted(model, pairs, spec, **how):
        settings.append((spec.seed, spec.learning_rate))
        return train(model, pairs, spec, **how)

    monkeypatch.setattr(ser_jobs.stages.retrain, "why_dead", lambda steps, training, margins: next(verdicts))
    monkeypatch.setattr(ser_jobs.stages.retrain, "train", noted)
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    assert settings == [(0, 0.01), (0, 0.01), (1, 0.005), (0, 0.01)]
    assert (output.metrics.trainings, output.metrics.notes) == (2, ("a training collapsed and was repeated: of fold 2: dead",))
    assert workshop.events.shown[-1][0] == workshop.events.shown[-1][1]


def test_a_fold_model_that_stays_dead_is_said_to_be_so(workshop, monkeypatch):
    verdicts = ["", "dead", "dead again", "dead still", ""]

    def judged(steps, training, margins):
        return verdicts.pop(0)

    monkeypatch.setattr(ser_jobs.stages.retrain, "why_dead", judged)
    output = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    assert (output.metrics.trainings, output.metrics.collapsed) == (3, False)
    assert output.metrics.notes[0] == "the model of fold 2 still does not hold: dead still"

    whole, asked = digests(output), count()
    workshop.context(StageKind.RETRAIN).checkpoints.delete_all()
    verdicts += ["", "dead", "dead again", "dead still"]
    with pytest.raises(Interrupted):
        workshop.run(retrain.body, StageKind.RETRAIN, 0, stopping=lambda: not verdicts and next(asked) >= 9, **FOLDS)
    verdicts.append("")
    resumed = workshop.run(retrain.body, StageKind.RETRAIN, 0, **FOLDS)
    assert digests(resumed) == whole
    assert resumed.metrics == output.metrics


def test_a_control_that_does_not_fit_its_own_pairs_is_trained_again(workshop, seed_model, monkeypatch):
    fits = []

    def judged(fit):
        fits.append(fit)
        return "" if len(fits) > 1 else "too bad"

    monkeypatch.setattr(ser_jobs.training.retrain.judge, "why_collapsed", judged)
    workshop.give_output(InputRole.BEST, seed_model)
    output = workshop.run(retrain.body, StageKind.CONTROL_SEED_ONLY, 0, steps=7, **FOLDS)
    assert (output.metrics.trainings, output.metrics.notes[0]) == (2, "a training collapsed and was repeated: too bad")
    assert [(len(one.seen), len(one.unseen), len(one.pool)) for one in fits] == [(BUDGET, BUDGET, 0)] * 2
    assert fits[0].unseen.tolist() == [
        pair.score_chosen - pair.score_rejected for pair in table(seed_model, "dev_scores.parquet", EvaluatedPair)
    ]
