"""A started run keeps its spec."""

import pytest

from ser_core.api.immutability import forbidden_changes, refuse_changes, with_earlier_defaults
from ser_core.api.serrun import SERRunSpec
from ser_core.api.status import SERRunStatus
from ser_core.errors import SpecError
from ser_core.loop.deciding import stopping as stopping_of_the_planner

POLICY = {"uri": "file:///p", "manifestSHA256": "0" * 64, "score": 1, "baselineScore": 0, "kl": 2, "steps": 30}
BASE = {"rewardModel": {"base": "file:///m"}, "data": {"source": {"uri": "file:///d"}}, "storage": {"uri": "file:///s"}}


def spec(**changes):
    return SERRunSpec.model_validate(BASE | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"resources": {"label": {"gpus": 2}}},
        {"budget": {"gpuHours": 3}},
        {"activeDeadline": "2h"},
        {"ttlAfterFinished": "1h"},
        {"loop": {"maxIterations": 5}},
        {"training": {"tokensPerBatch": 4096}},
        {"reopen": 1},
    ],
)
def test_what_may_change(change):
    refuse_changes(spec(), spec(**change), SERRunStatus())


@pytest.mark.parametrize(("suspend", "told"), [(True, ""), (False, "spec.queueName was 'a' and cannot become 'b'")])
def test_the_queue_may_change_while_the_run_is_suspended(suspend, told):
    assert forbidden_changes(spec(queueName="a"), spec(queueName="b", suspend=suspend), SERRunStatus()) == ([told] if told else [])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"loop": {"maxIterations": 3}}, "spec.loop.maxIterations was 4 and cannot become 3"),
        ({"loop": {"maxIterations": 9, "rule": "paper"}}, "spec.loop.rule was 'calibrated' and cannot become 'paper'"),
        ({"training": {"tokensPerBatch": 8193}}, "spec.training.tokensPerBatch was 8192 and cannot become 8193"),
        ({"training": {"tokensPerBatch": 64, "epochs": 3}}, "spec.training.epochs was 2 and cannot become 3"),
        ({"training": {"seed": 1}}, "spec.training.seed was 0 and cannot become 1"),
        ({"storage": {"uri": "file:///t"}}, "spec.storage.uri"),
        ({"rewardModel": {"base": "file:///m", "adapter": {}}}, "spec.rewardModel.adapter was None"),
    ],
)
def test_what_may_not_change_is_named_with_both_values(change, named):
    with pytest.raises(SpecError) as caught:
        refuse_changes(spec(), spec(**change), SERRunStatus())
    assert named in caught.value.message
    assert caught.value.reason == "ImmutableField"


def test_reopen_cannot_be_lowered():
    with pytest.raises(SpecError, match=r"spec\.reopen was 2 and cannot become 1"):
        refuse_changes(spec(reopen=2), spec(reopen=1), SERRunStatus())


@pytest.mark.parametrize("phase", ["Completed", "Failed"])
def test_iterations_of_an_ended_run_may_be_raised(phase):
    refuse_changes(spec(), spec(loop={"maxIterations": 5}), SERRunStatus.model_validate({"phase": phase}))


@pytest.mark.parametrize("status", [{"stage": "sft"}, {"stage": "ppo"}, {"policy": POLICY}])
def test_iterations_cannot_be_raised_once_the_policy_has_begun(status):
    with pytest.raises(
        SpecError, match=r"^spec\.loop\.maxIterations was 4 and cannot become 5, since the policy has begun: [^;]*spec\.from[^;]*$"
    ):
        refuse_changes(spec(), spec(loop={"maxIterations": 5}), SERRunStatus.model_validate(status))


def stopping(**fields):
    return spec(loop={"rule": "paper", "stopping": fields})


@pytest.mark.parametrize(
    ("stored", "wanted", "patience", "rolls_back"),
    [
        ({"patience": 1, "rollback": "best"}, {}, 1, True),
        ({"patience": 1, "rollback": "best"}, {"rollback": "none"}, 1, False),
        ({"patience": 3}, {}, 4, False),
        ({}, {}, 4, False),
    ],
    ids=["begun by 0.1.0", "changed in the file", "taken out of the file", "begun by this version"],
)
def test_a_run_keeps_the_stopping_that_version_0_1_0_wrote_into_it(stored, wanted, patience, rolls_back):
    loop = with_earlier_defaults(stopping(**stored), stopping(**wanted)).loop
    assert (loop.patience, stopping_of_the_planner.rolls_back(loop, ())) == (patience, rolls_back)


@pytest.mark.parametrize(
    ("stored", "wanted", "precision", "folds"),
    [
        ({"thresholds": {"targetPrecision": 0.9}}, {}, 0.9, None),
        ({"thresholds": {"targetPrecision": 0.6}}, {"thresholds": {"targetPrecision": 0.6}}, 0.6, None),
        ({}, {}, None, 4),
        ({"folds": 2}, {"folds": 2, "thresholds": {"targetPrecision": 0.7}}, 0.7, 2),
    ],
    ids=["default of 0.1.0", "set in 0.1.0", "begun by this version", "a floor"],
)
def test_a_run_that_version_0_1_0_began_keeps_its_threshold_and_its_dev_part(stored, wanted, precision, folds):
    loop = with_earlier_defaults(spec(loop=stored), spec(loop=wanted)).loop
    assert (loop.thresholds.target_precision, loop.fold_count) == (precision, folds)


def test_only_rule_calibrated_has_folds():
    assert spec(loop={"rule": "paper", "folds": 3}).loop.fold_count is None
