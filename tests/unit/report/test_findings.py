"""Sentences and comparisons say what was measured, and no more."""

import dataclasses

import pytest

from ser_core.api.status import IterationStatus, LearningStatus, Phase, SERRunStatus
from ser_core.loop.deciding.stopping import evidence as rests_on
from ser_core.report.findings import Contrast, caveats, contrasts, gap_closed, headline, of_groups
from ser_core.report.ledger import Ledger

FULL = Contrast(
    "full", "trained on all labels", accuracy=0.9, difference=-0.05, only_best=5, only_other=15, low=-0.1, high=-0.002, p_value=0.041
)


def with_status(ledger, **update):
    return Ledger(ledger.run.model_copy(update={"status": ledger.run.status.model_copy(update=update)}), ledger.stages)


def test_the_best_is_compared_with_seed_and_controls_on_the_same_pairs(ledger, evidence):
    found = contrasts(ledger, evidence)
    assert [contrast.name for contrast in found] == ["seed", "full"]
    best = ledger.best.metrics.heldout
    for contrast in found:
        assert contrast.difference * best.pairs == pytest.approx(contrast.only_best - contrast.only_other)


def test_the_headline_gives_the_interval_and_the_length_rule(ledger, evidence):
    first, *_, last = headline(ledger, contrasts(ledger, evidence))
    heldout = ledger.best.metrics.heldout
    assert f"{heldout.accuracy * 100:.1f} % of 200 held-out pairs (95 % interval {heldout.accuracy_low * 100:.1f} to" in first
    assert f"“the longer answer wins” reaches {heldout.length_only_accuracy * 100:.1f} %" in last


def test_a_difference_that_may_be_chance_is_called_so(ledger):
    chance = dataclasses.replace(FULL, p_value=0.051)
    assert "not significant, so it may be chance (p = 0.051)" in headline(ledger, (chance,))[1]
    assert "5.0 points more; the difference is significant" in headline(ledger, (FULL,))[1]


def test_where_the_seed_model_is_better_the_command_that_exports_it_is_named(ledger):
    ahead = dataclasses.replace(FULL, name="seed")
    assert headline(ledger, (ahead,))[1].endswith("significant (p = 0.041). To export it: ser export RUN FOLDER --loop 0.")
    assert "ser export" not in headline(ledger, (dataclasses.replace(ahead, difference=0.05),))[1] + headline(ledger, (FULL,))[1]
    spec = ledger.run.spec.model_copy(update={"storage": ledger.run.spec.storage.model_copy(update={"retain": "best"})})
    removed = dataclasses.replace(ledger, run=ledger.run.model_copy(update={"spec": spec}))
    assert headline(removed, (ahead,))[1].endswith("significant (p = 0.041).")


def test_no_gain_is_called_no_gain(ledger):
    assert "%). None of 2 loops beat it on the dev pairs." in headline(with_status(ledger, best_iteration=0), ())[0]


def collapsing(ledger, *loops):
    changed = {
        one.key: dataclasses.replace(one, metrics=one.metrics.model_copy(update={"collapsed": True, "loss_gain": 0.1}))
        for one in ledger.models
        if one.key.iteration in loops
    }
    return dataclasses.replace(ledger, stages={**ledger.stages, **changed})


def test_loops_whose_models_do_not_hold_are_not_said_to_have_a_higher_loss(ledger):
    kept = with_status(collapsing(ledger, 1), best_iteration=0)
    assert headline(kept, ())[0].endswith("None of 2 loops beat it on the dev pairs with a model that holds.")


def test_the_first_model_that_holds_is_said_to_be_chosen_as_such(ledger):
    (first, *_) = headline(collapsing(ledger, *range(ledger.best.key.iteration)), ())
    assert first.endswith("It was chosen since no model before it holds.")


def test_a_run_without_results_says_so(ledger):
    empty = Ledger(ledger.run.model_copy(update={"status": SERRunStatus(phase=Phase.RUNNING)}), {})
    assert headline(empty, ()) == ("No reward model has been evaluated yet: the run is Running.",)


def test_the_gap_is_measured_only_between_two_ends_that_lie_apart_by_more_than_chance(ledger, evidence):
    seed, full = found = contrasts(ledger, evidence)
    assert gap_closed(evidence, found) == pytest.approx(seed.difference / (full.accuracy - seed.accuracy))
    assert gap_closed(evidence, (seed,)) is None
    chance = dataclasses.replace(evidence.controls["full"], pairs=evidence.models[0].pairs)
    assert gap_closed(dataclasses.replace(evidence, controls={"full": chance}), found) is None


def test_what_may_be_a_coin_and_what_the_length_rule_does_better_is_said(ledger):
    assert not any("coin" in said or "which is more" in said for said in headline(ledger, ()))
    heldout = ledger.best.metrics.heldout.model_copy(update={"accuracy": 0.55, "accuracy_low": 0.48, "length_only_accuracy": 0.6})
    record = ledger.stages[ledger.best.key]
    stages = {ledger.best.key: dataclasses.replace(record, metrics=record.metrics.model_copy(update={"heldout": heldout}))}
    first, last = headline(Ledger(ledger.run, {**ledger.stages, **stages}), ())
    assert " %); it may be no better than a coin: its held-out interval reaches one half" in first
    assert last.endswith("60.0 % on the same pairs, which is more.")


def test_a_model_that_does_not_hold_is_called_so_beside_its_accuracy(ledger):
    record = ledger.stages[ledger.best.key]
    collapsed = {ledger.best.key: dataclasses.replace(record, metrics=record.metrics.model_copy(update={"collapsed": True}))}
    assert "; it does not hold: each of its trainings has collapsed" in headline(Ledger(ledger.run, {**ledger.stages, **collapsed}), ())[0]


def test_notes_of_the_stages_are_handed_on(ledger):
    notes = list(caveats(ledger))
    assert "data: few pairs" in notes
    assert "data: 120 labels decide: fewer than 200 are few for a decision" in notes
    assert "filter of loop 1: not significant: 18 of 20 calibration pairs are right" in notes
    assert not any(note.startswith("The run is") for note in notes)
    assert next(caveats(with_status(ledger, phase=Phase.FAILED, message="no disk"))) == "The run is Failed: no disk."


def test_of_hidden_labels_no_more_is_claimed_than_that_they_decide_nothing(ledger):
    said = "Held-out labels and hidden labels of the pool decide nothing: they were read for this report only"
    alone = dataclasses.replace(ledger, stages={key: one for key, one in ledger.stages.items() if one.key not in of_controls(ledger)})
    data = ledger.prepared.metrics.model_copy(update={"hidden_labels": False})
    none = dataclasses.replace(ledger, stages={**ledger.stages, ledger.prepared.key: dataclasses.replace(ledger.prepared, metrics=data)})

    assert f"{said}; the control full has learnt from the hidden ones." in caveats(ledger)
    assert f"{said}." in caveats(alone)
    assert "Held-out labels decide nothing: they were read for this report only." in caveats(none)


def of_controls(ledger):
    return {record.key for record in ledger.controls.values()}


def test_pairs_that_were_cut_are_told(ledger):
    cut = ledger.models[0].metrics.model_copy(update={"truncated": 9})
    stages = {key: dataclasses.replace(one, metrics=cut) if key == ledger.models[0].key else one for key, one in ledger.stages.items()}
    assert f"{ledger.models[0].key}: 9 of 90 training pairs were cut to rewardModel.maxLength." in list(caveats(Ledger(ledger.run, stages)))


def in_groups(ledger, number):
    last = ledger.models[-1]
    heldout = last.metrics.heldout.model_copy(update={"groups": number})
    return dataclasses.replace(
        ledger, stages={**ledger.stages, last.key: dataclasses.replace(last, metrics=last.metrics.model_copy(update={"heldout": heldout}))}
    )


def test_what_intervals_rest_on_is_told_where_it_is_not_each_pair_for_itself(ledger):
    (told,) = of_groups(in_groups(ledger, 12))
    assert told.startswith("the 200 held-out pairs are in 12 groups by prompt: pairs of one are right or wrong together, ")
    (few,) = of_groups(in_groups(ledger, 9))
    assert few.endswith("in 9 groups by prompt: intervals and p-values count groups, and of fewer than 10 they are not to be trusted")
    assert of_groups(in_groups(ledger, 180)) == of_groups(ledger) == []
    (earlier,) = of_groups(in_groups(ledger, None))
    assert earlier.startswith("intervals of accuracies treat pairs as independent: an earlier version")


def test_contrasts_count_groups_where_they_are_known(ledger, evidence):
    ids = [pair.id for pair in evidence.models[0].pairs]
    known = dataclasses.replace(evidence, groups={name: f"g{number // 50}" for number, name in enumerate(ids)})
    alone, grouped = (contrasts(ledger, one)[0] for one in (evidence, known))
    assert (alone.difference, alone.only_best, alone.only_other) == (grouped.difference, grouped.only_best, grouped.only_other)
    assert alone.p_value < 0.001 < 0.1 < grouped.p_value
    assert grouped.low <= grouped.difference <= grouped.high


def test_what_a_search_found_is_told(ledger):
    searched = ledger.models[0].metrics.model_copy(update={"learning_rate": 4e-3, "epochs": 6})
    stages = {**ledger.stages, ledger.models[0].key: dataclasses.replace(ledger.models[0], metrics=searched)}
    told = [one for one in caveats(Ledger(ledger.run, stages)) if "training.search" in one]
    assert told == [
        "training.search found learningRate 0.004 and epochs 6; the out-of-fold log loss of the best of several is a little too good."
    ]


def test_a_choice_by_a_log_loss_that_a_coin_has_too_says_so(ledger):
    dev = ledger.best.metrics.dev.model_copy(update={"log_loss": 0.6931})
    before = IterationStatus(iteration=0, learning_status=LearningStatus.SEED, dev_accuracy=0.5)
    chosen = ledger.best.metrics.model_copy(update={"loss_gain": 0.0029, "loss_gain_error": 0.0013, "dev": dev})
    stages = {**ledger.stages, ledger.best.key: dataclasses.replace(ledger.best, metrics=chosen)}
    (first, *_) = headline(dataclasses.replace(ledger, stages=stages), ())
    assert "its out-of-fold log loss (a coin's is 0.6931) is lower by 0.0029 (standard error 0.0013, significant)" in first
    assert "log loss 0.6931 (a coin's is 0.6931), lower by" in rests_on(chosen, before)


def test_what_a_cross_fitted_model_was_chosen_by_is_told(ledger):
    stages = dict(ledger.stages)
    compared = {"loss_gain": 0.0059, "loss_gain_error": 0.0137}
    stages[ledger.best.key] = dataclasses.replace(ledger.best, metrics=ledger.best.metrics.model_copy(update=compared))
    (first, *_) = headline(dataclasses.replace(ledger, stages=stages), ())
    assert first.endswith(
        "its out-of-fold log loss is lower by 0.0059 (standard error 0.0137, not significant) than that of the best model before it. "
        "A later loop is taken unless it is clearly worse."
    )
