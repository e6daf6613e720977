"""Warnings about the numbers of pairs: they follow the rule, and their remedies work."""

import re

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.stage import PrepareMetrics
from ser_core.learn.trust.enough_pairs import size_warnings


def warnings(loop, *, pool=1000, seed=400, dev=200, shared_prompts=None, training=None, data=None, **learnt):
    spec = {
        "rewardModel": {"base": "hf://a/b"},
        "data": data or {"source": {"uri": "file:///d", "seedFraction": 0.1}},
        "loop": loop,
        "training": training or {},
        "storage": {"uri": "file:///s"},
    }
    parts = {"seed": seed, "dev": dev, "pool": pool, "shared_prompts": shared_prompts}
    sizes = PrepareMetrics(found="jsonl", rows=9, heldout=9, hidden_labels=True, **parts)
    return list(size_warnings(SERRunSpec.model_validate(spec), sizes, **learnt))


@pytest.mark.parametrize("loop", [{"rule": "calibrated"}, {"rule": "paper"}, {"rule": "reference"}])
def test_enough_pairs_of_every_part_are_no_warning(loop):
    assert warnings(loop) == []


@pytest.mark.parametrize(("loop", "kept", "enough"), [({}, 27, 107), ({"thresholds": {"targetPrecision": 0.8}}, 45, 64)])
def test_a_pool_of_which_less_than_a_step_can_be_kept_is_told_with_remedies_that_work(loop, kept, enough):
    (told,) = warnings(loop, pool=45)
    assert told.startswith(f"training.pairsPerStep is 64 and of the pool's 45 pairs a loop keeps at most {kept}: ")
    assert "NothingTrusted" in told
    assert f"at least {enough} pairs" in told
    assert warnings(loop, pool=enough) == []
    assert warnings(loop, pool=enough - 2) != []
    assert warnings(loop, pool=45, training={"pairsPerStep": int(re.search(r"write pairsPerStep: (\d+)", told)[1])}) == []


def test_a_status_of_rule_paper_that_the_pool_cannot_fill_is_told_with_a_remedy_that_works():
    (told,) = warnings({"rule": "paper"}, pool=599)
    assert told.startswith("loop.thresholds.minSamples is 600 and the pool has 599 pairs: ")
    least = int(re.search(r"write minSamples: (\d+)", told)[1])
    assert warnings({"rule": "paper", "thresholds": {"minSamples": least}}, pool=599) == []
    assert warnings({"rule": "paper"}, pool=600) == []


def test_with_folds_all_labels_of_the_seed_decide_and_else_the_dev_part():
    assert warnings({}, seed=150, dev=50, training={"pairsPerStep": 8}) == []
    assert warnings({}, seed=22, dev=8, training={"pairsPerStep": 4}) == ["30 labels decide: fewer than 200 are few for a decision"]
    for loop in ({"rule": "reference"}, {"thresholds": {"targetPrecision": 0.8}}):
        assert warnings(loop, dev=8) == ["dev has 8 pairs: with fewer than 200 its decisions rest on few labels"]


@pytest.mark.parametrize("loop", [{"rule": "paper"}, {"rule": "reference"}, {"thresholds": {"targetPrecision": 0.8}}])
def test_prompts_in_both_seed_and_pool_are_told_only_where_no_fold_model_holds_them_back(loop):
    (told,) = warnings(loop, shared_prompts=1)
    assert told.startswith("1 prompt of data.seed also in data.unlabeled: ") and "use rule calibrated" in told
    files = {name: {"uri": f"file:///{name}"} for name in ("seed", "unlabeled", "heldout")}
    (told,) = warnings(loop, shared_prompts=2, data={**files, "splitBy": "topic"})
    assert told.startswith("2 groups by topic of data.seed also in data.unlabeled: a self-label of such a group ")
    assert warnings(loop, shared_prompts=0) == warnings(loop) == warnings({}, shared_prompts=1) == []


def test_a_seed_that_is_learnt_in_a_few_steps_is_told_with_a_remedy_that_works():
    assert warnings({}, seed=190, dev=66, training={"pairsPerStep": 63}) == []
    (told,) = warnings({}, seed=190, dev=66)
    assert told.startswith("the seed model learns in 8 steps (training.pairsPerStep 64, epochs 2): ")
    pairs, epochs = map(int, re.search(r"write pairsPerStep: (\d+) and epochs: (\d+) into training", told).groups())
    assert warnings({}, seed=190, dev=66, training={"epochs": epochs, "pairsPerStep": pairs}) == []
    (told,) = warnings({}, seed=190, dev=66, training={"search": {"epochs": [1, 2]}})
    assert "and search.epochs: [2] into training" in told


def test_ties_are_learnt_too_and_give_steps():
    few = {"seed": 7, "dev": 5, "training": {"pairsPerStep": 8}}
    said = {
        number: [one for one in warnings({}, ties={"seed": 20, "dev": number}, **few) if "the seed model learns" in one]
        for number in (0, 18)
    }
    assert said[0][0].startswith("the seed model learns in 8 steps ")
    assert said[18] == []
    assert [one for one in warnings({}, taken=14, **few) if "the seed model learns" in one] == []


def test_where_a_loop_keeps_less_than_a_step_both_remedies_name_steps_that_it_keeps():
    told = warnings({}, seed=4, dev=2, pool=6, training={"pairsPerStep": 8})
    assert [re.search(r"write pairsPerStep: (\d+)", one)[1] for one in told[1:]] == ["2", "2"]
