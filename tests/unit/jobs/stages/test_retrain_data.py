"""What each rule and each control trains on."""

import pytest

from ser_core.api.spec.training import TrainingSpec
from ser_core.api.stage import InputRole
from ser_core.api.status import StageKind
from ser_core.data.tables import Decision, FoldDecision, PairGroup, PairMargin, PairScores, PairWeight, TiedPair
from ser_core.errors import SpecError
from ser_jobs.training.retrain.retrain_plan import make_plan, trials_of
from ser_jobs.training.retrain.training_data import groups_of, starts_from, training_data

SEED = [f"seed{number:02}" for number in range(24)]


def decisions(*rows):
    return [Decision(f"pool{number:02}", 1.0, 0.0, better, 0.9, 1, kept, 0.8, 1.5, None) for number, better, kept in rows]


@pytest.fixture
def loop(workshop):
    workshop.give(InputRole.LABELER)
    workshop.give(InputRole.KEPT, {"decisions.parquet": (Decision, decisions((0, 1, True), (1, 1, True), (2, 1, False)))})
    workshop.give(InputRole.KEPT_BEFORE, {"decisions.parquet": (Decision, decisions((1, 2, True), (3, 2, True), (4, 2, False)))})
    return workshop


def data(workshop, kind=StageKind.RETRAIN, iteration=1, **settings):
    context = workshop.context(kind, iteration, **settings)
    return training_data(context, groups_of(context))


def names(examples):
    return [example.id for example in examples]


def test_the_seed_model_learns_the_seed(loop):
    found = data(loop, iteration=0)
    assert (names(found.seed), found.self_labeled) == (SEED, ())
    assert all(example.better == f"w1 {example.worse}" for example in found.seed)


def test_calibrated_learns_the_seed_and_what_was_kept_with_soft_targets_and_weights(loop):
    found = data(loop, iteration=2)
    assert names(found.seed) == SEED
    assert [(one.id, one.target, one.weight) for one in found.self_labeled] == [("pool00", 0.8, 1.5), ("pool01", 0.8, 1.5)]
    assert {(one.target, one.weight) for one in found.seed} == {(1.0, 1.0)}


def test_a_self_label_says_which_answer_is_the_better_one(loop):
    right, wrong = data(loop).self_labeled  # the human label of pool00 is 1, of pool01 it is 2
    assert right.better == f"w1 {right.worse}"
    assert wrong.worse == f"w1 {wrong.better}"


def test_paper_learns_the_seed_in_loop_1_and_later_what_the_loop_before_kept(loop):
    first, second = data(loop, iteration=1, rule="paper"), data(loop, iteration=2, rule="paper")
    assert (names(first.seed), names(first.self_labeled)) == (SEED, ["pool00", "pool01"])
    assert (names(second.seed), names(second.self_labeled)) == ([], ["pool00", "pool01", "pool03"])
    assert second.self_labeled[1].worse == f"w1 {second.self_labeled[1].better}"  # the newer label of pool01


def test_reference_learns_only_what_was_kept(loop):
    found = data(loop, rule="reference")
    assert (names(found.seed), names(found.self_labeled)) == ([], ["pool00", "pool01"])


def test_full_learns_all_human_labels_but_dev(loop):
    found = data(loop, StageKind.CONTROL_FULL, 0)
    assert names(found.seed) == [*SEED, *(f"pool{number:02}" for number in range(16))]
    assert all(example.better == f"w1 {example.worse}" for example in found.seed)


def test_full_without_human_labels_says_so(workshop):
    tables = {name: rows for name, rows in workshop.tables.items() if name != "pool_labels.parquet"}
    workshop.give(InputRole.PREPARED, tables)
    with pytest.raises(SpecError) as raised:
        data(workshop, StageKind.CONTROL_FULL, 0)
    assert raised.value.reason == "NoHiddenLabels"


def test_seed_only_learns_the_seed_though_the_run_has_kept_pairs(loop):
    assert names(data(loop, StageKind.CONTROL_SEED_ONLY, 0).self_labeled) == []


def test_pseudo_label_once_learns_every_first_self_label(workshop):
    scores = [PairScores("pool00", 1.0, 2.0, 1, 1), PairScores("pool01", 2.0, 1.0, 1, 1)]
    workshop.give(InputRole.LABELS, {"labels.parquet": (PairScores, scores)})
    found = data(workshop, StageKind.CONTROL_PSEUDO_LABEL_ONCE, 0)
    assert names(found.seed) == SEED
    assert [example.worse == f"w1 {example.better}" for example in found.self_labeled] == [True, True]


@pytest.mark.parametrize(
    ("kind", "iteration", "rule", "retrain_from", "expected"),
    [
        (StageKind.RETRAIN, 0, "paper", None, InputRole.PREPARED),
        (StageKind.RETRAIN, 1, "paper", None, InputRole.LABELER),
        (StageKind.RETRAIN, 1, "reference", None, InputRole.LABELER),
        (StageKind.RETRAIN, 1, "calibrated", None, InputRole.PREPARED),
        (StageKind.RETRAIN, 1, "calibrated", "previous", InputRole.LABELER),
        (StageKind.RETRAIN, 1, "paper", "base", InputRole.PREPARED),
        (StageKind.CONTROL_SEED_ONLY, 0, "paper", None, InputRole.PREPARED),
    ],
)
def test_weights_go_on_where_the_rule_says_so(workshop, kind, iteration, rule, retrain_from, expected):
    assert starts_from(workshop.context(kind, iteration, rule=rule, retrain_from=retrain_from)) is expected


TIES = [
    TiedPair("tie0", "w1", "one", "other", "seed"),
    TiedPair("tie1", "w2", "one", "other", "dev"),
    TiedPair("tie2", "w99", "a", "b", "seed"),
]


@pytest.fixture
def tied(workshop):
    workshop.give(
        InputRole.PREPARED,
        workshop.tables
        | {
            "ties.parquet": (TiedPair, TIES),
            "weights.parquet": (PairWeight, [PairWeight("seed00", 6.0), PairWeight("seed01", 1.0), PairWeight("tie0", 2.0)]),
            "pool_weights.parquet": (PairWeight, [PairWeight("pool00", 3.0), PairWeight("pool01", 1.0)]),
            "margins.parquet": (PairMargin, [PairMargin("seed00", 0.5), PairMargin("tie0", 3.0)]),
            "pool_margins.parquet": (PairMargin, [PairMargin("pool00", 2.0)]),
            "groups.parquet": (PairGroup, [PairGroup("tie0", "seed01"), PairGroup("tie1", "dev00"), PairGroup("tie2", "tie2")]),
        },
    )
    return workshop


def test_ties_are_learnt_with_target_one_half_and_weights_have_a_mean_of_one(tied):
    found = data(tied, iteration=0)
    assert [(one.id, one.target, one.weight) for one in found.ties] == [("tie0", 0.5, 2 / 3), ("tie2", 0.5, 1.0)]
    assert [one.weight for one in found.seed[:3]] == [2.0, 1 / 3, 1.0]


def test_margins_are_those_of_labels_that_people_gave_and_of_no_tie_and_no_self_label(tied, loop):
    found = data(tied, iteration=2)
    assert {one.id: one.margin for one in found.seed if one.margin} == {"seed00": 0.5}
    assert [one.margin for one in (*found.ties, *found.self_labeled)] == [0.0] * 4


def test_where_dev_is_learnt_its_ties_are_too_and_no_fold_learns_a_tie_of_a_group_that_it_holds_back(tied):
    context = tied.context(StageKind.RETRAIN, 0, folds=4)
    found = training_data(context, groups_of(context))
    assert names(found.ties) == ["tie0", "tie1", "tie2"]
    plan = make_plan(context.spec, found, dev=12)
    assert len(plan.examples) == 24 + 12 + 3
    for fold in plan.folds:
        held_back, seen = set(names(fold.held_back)), set(names(fold.seen))
        assert not held_back & {"tie0", "tie1", "tie2"}
        assert ("tie0" in seen, "tie1" in seen, "tie2" in seen) == ("seed01" not in held_back, "dev00" not in held_back, True)


def test_no_fold_learns_a_self_label_of_a_prompt_that_it_holds_back(loop):
    groups = [PairGroup("pool00", "seed03"), PairGroup("pool01", "elsewhere")]
    loop.give(InputRole.PREPARED, loop.tables | {"groups.parquet": (PairGroup, groups)})
    own = [FoldDecision(f"pool{pair:02}", fold, 1) for fold in range(4) for pair in range(2)]
    loop.give(InputRole.KEPT, {"decisions.parquet": (Decision, []), "fold_decisions.parquet": (FoldDecision, own)})
    context = loop.context(StageKind.RETRAIN, 1, folds=4)
    for fold in make_plan(context.spec, training_data(context, groups_of(context)), dev=12).folds:
        seen = set(names(fold.seen))
        assert ("pool00" in seen, "pool01" in seen) == ("seed03" not in names(fold.held_back), True)


def test_a_rule_that_leaves_the_seed_leaves_its_ties_too(tied, loop):
    assert data(tied, rule="reference").ties == ()


def test_the_control_of_all_labels_weighs_the_pool_by_its_own_mean_and_takes_its_margins(tied):
    found = {one.id: (one.weight, one.margin) for one in data(tied, StageKind.CONTROL_FULL, 0).seed}
    assert (found["pool00"], found["pool01"], found["pool02"]) == ((1.5, 2.0), (0.5, 0.0), (1.0, 0.0))


def test_a_setting_that_a_search_names_twice_is_tried_once():
    searched = TrainingSpec.model_validate({"search": {"learningRates": [0.1, 0.2, 0.1], "epochs": [2, 2]}})
    assert [(trial.learning_rate, trial.epochs) for trial in trials_of(searched)] == [(0.1, 2), (0.2, 2)]
