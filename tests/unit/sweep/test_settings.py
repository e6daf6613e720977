"""What `--set` may say."""

import pytest

from ser_core.errors import UsageError
from ser_core.sweep.settings import read_setting, told, with_value


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("training.seed=0..3", "training.seed", (0, 1, 2, 3)),
        ("training.seed=7", "training.seed", (7,)),
        ("training.seed=0..1, 5", "training.seed", (0, 1, 5)),
        ("spec.loop.rule=paper,calibrated", "loop.rule", ("paper", "calibrated")),
        ("training.learningRate=2.0e-5,1e-3", "training.learningRate", (2e-5, 1e-3)),
        ("loop.controls=[],[full, seedOnly]", "loop.controls", ([], ["full", "seedOnly"])),
        ("rewardModel.adapter=null,{rank: 4}", "rewardModel.adapter", (None, {"rank": 4})),
    ],
)
def test_values_are_read_as_yaml_writes_them_and_ranges_hold_both_ends(text, path, values):
    setting = read_setting(text)
    assert (setting.path, setting.values) == (path, values)


@pytest.mark.parametrize(
    "text", ["training.seed", "=3", "a b=3", "training.seed=", "training.seed=[", "x=4..2", "x=0..5000", "x=1,1", ".x=1"]
)
def test_what_is_no_setting_is_refused_with_an_example(text):
    with pytest.raises(UsageError) as refused:
        read_setting(text)
    assert (refused.value.reason, text in refused.value.message) == ("BadSetting", True)


@pytest.mark.parametrize("text", ["storage.uri=file://a,file://b", "spec.from.run=a", "metadata.labels.x=1", "suspend=true,false"])
def test_what_makes_no_arm_is_refused_with_its_reason(text):
    field = text.removeprefix("spec.").partition(".")[0].partition("=")[0]
    with pytest.raises(UsageError) as refused:
        read_setting(text)
    assert (refused.value.reason, refused.value.hint) == ("BadSetting", f"leave it out: {field} of the file holds for all runs")


def test_a_field_is_set_wherever_it_is_and_null_takes_it_out():
    spec = {"loop": {"rule": "paper"}}
    assert with_value(spec, "loop.stopping.patience", 2) == {"loop": {"rule": "paper", "stopping": {"patience": 2}}}
    assert with_value(spec, "loop.rule", None) == {"loop": {}}
    assert with_value(spec, "rewardModel.adapter.rank", None) == spec == {"loop": {"rule": "paper"}}
    assert with_value({"adapter": None}, "adapter.rank", None) == {"adapter": None}
    with pytest.raises(UsageError, match="rule is 'paper' in the file and has no fields"):
        with_value(spec, "loop.rule.x", 1)


def test_settings_are_told_as_they_were_typed():
    assert told({"loop.rule": "paper", "training.epochs": 4}) == "loop.rule=paper training.epochs=4"
    assert told({}) == "as in the file"
