"""Which runs a sweep makes, how they are called, and which takes over from which."""

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.errors import UsageError
from ser_core.sweep.schedule import may_start
from ser_core.sweep.settings import Setting
from ser_core.sweep.variants import leaders, variants

SPEC = {"rewardModel": {"base": "hf://a/b"}, "data": {"source": {"uri": "hf://c/d"}}, "storage": {"uri": "s3://bucket/x"}}


def made(*settings):
    return variants("hh", SPEC, [Setting(path, values) for path, values in settings])


def led(*settings):
    return leaders([SERRunSpec.model_validate(one.spec) for one in made(*settings)])


def test_every_combination_is_a_run_with_a_name_that_says_it():
    found = made(("loop.rule", ("paper", "calibrated")), ("training.seed", (0, 1)))
    assert [one.name for one in found] == ["hh-paper-seed0", "hh-paper-seed1", "hh-calibrated-seed0", "hh-calibrated-seed1"]
    assert found[3].spec == {**SPEC, "loop": {"rule": "calibrated"}, "training": {"seed": 1}}
    assert [one.arm for one in found] == ["loop.rule=paper"] * 2 + ["loop.rule=calibrated"] * 2


def test_names_stay_short_and_apart():
    rates = made(("training.learningRate", (1e-3, 1.0e-03 + 1e-9)), ("rewardModel.revision", ("a" * 60, "b" * 60)))
    assert len({one.name for one in rates}) == 4
    assert all(len(one.name) <= 50 for one in rates)
    assert len({one.name for one in made(("rewardModel.revision", ("v.1", "v-1")))}) == 2


@pytest.mark.parametrize("settings", [[("training.seed", (0,)), ("training.seed", (1,))], [("training.seed", tuple(range(1001)))]])
def test_a_field_that_is_set_twice_and_too_many_runs_are_refused(settings):
    with pytest.raises(UsageError) as refused:
        made(*settings)
    assert refused.value.reason == "BadSetting"


def test_a_run_takes_over_from_the_first_with_which_it_shares_most():
    by_rule_and_seed = led(("training.seed", (0, 1)), ("loop.rule", ("paper", "reference", "calibrated")))
    assert by_rule_and_seed == (None, 0, 0, 0, 3, 0)  # the split of the first; the seed model of the own seed; calibrated trains its own


def test_runs_that_share_nothing_follow_nobody():
    assert led(("data.splitSeed", (0, 1))) == (None, None)
    of_a_file_with_from = [SERRunSpec.model_validate({**SPEC, "from": {"run": "old"}})] * 2
    assert leaders(of_a_file_with_from) == (None, None)


def test_a_run_starts_when_its_leader_has_ended_and_there_is_room():
    follows = (None, 0, 0, 0, 1)
    assert may_start(follows, [], [], 4) == [0]
    assert may_start(follows, [0], [], 4) == []
    assert may_start(follows, [0], [0], 2) == [1, 2]
    assert may_start(follows, [0, 1, 2], [0, 1], 4) == [3, 4]
    assert may_start(follows, [0, 1, 2, 3, 4], [0, 1], 4) == []


def test_a_field_that_the_file_has_not_can_not_be_taken_out_of_it_unless_other_runs_have_it():
    with pytest.raises(UsageError, match=r"loop\.ruel=null changes nothing"):
        made(("loop.ruel", (None,)), ("training.seed", (0, 1)))
    assert len(made(("rewardModel.adapter", (None, {"rank": 4})))) == 2
