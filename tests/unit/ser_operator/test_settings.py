"""The operator's settings, and that the manual knows them all."""

import re
from pathlib import Path

import pytest

from ser_core.errors import SpecError
from ser_core.version import VERSION
from ser_operator.main import introduction
from ser_operator.objects import labels
from ser_operator.settings import Settings, from_environment

MANUAL = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()


def test_lists_are_separated_by_commas():
    settings = from_environment({"SER_OPERATOR_IMAGE": "x", "SER_OPERATOR_NAMESPACES": "a, b,", "HOME": "/"})

    assert settings.namespaces == ("a", "b")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"NAMESPACES": "a,b"}, "takes the runs of namespaces a, b; stages run x"),
        ({"OPERATOR_CLASS": "mine"}, "takes the runs of operatorClass mine of all namespaces; stages run x"),
    ],
)
def test_the_log_begins_with_which_operator_it_is_and_whose_runs_it_takes(given, said):
    settings = from_environment({"SER_OPERATOR_IMAGE": "x", **{f"SER_OPERATOR_{name}": value for name, value in given.items()}})

    assert introduction(settings) == f"ser-operator {VERSION} {said}"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SER_OPERATOR_WORKERS", "0"),
        ("SER_OPERATOR_WORKERS", "many"),
        ("SER_OPERATOR_IMAGES", "x"),
        ("SER_OPERATOR_IMAGE", ""),
        ("SER_OPERATOR_GPU_NODE_SELECTOR", "{gpu"),
        ("SER_OPERATOR_GPU_TOLERATIONS", '[{"key": "x", "operater": "Exists"}]'),
        ("SER_OPERATOR_DEFAULT_QUEUE", "No Queue"),
        ("SER_OPERATOR_SECURITY_CONTEXT", '{"runAsUser": 0}'),
        ("SER_OPERATOR_SECURITY_CONTEXT", '{"privileged": true}'),
        ("SER_OPERATOR_ALLOW", '{"reads": ["*"]}'),
        ("SER_OPERATOR_STAGE_DEFAULTS", '{"memory": "much"}'),
        ("SER_OPERATOR_GPU_RESOURCE", ""),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(variable, value):
    with pytest.raises(SpecError, match=re.escape(f"{variable}='{value}'")):
        from_environment({"SER_OPERATOR_IMAGE": "x", variable: value})


def test_where_gpu_stages_run_is_json():
    settings = from_environment(
        {
            "SER_OPERATOR_IMAGE": "x",
            "SER_OPERATOR_GPU_NODE_SELECTOR": '{"gpu": "h100"}',
            "SER_OPERATOR_GPU_TOLERATIONS": '[{"key": "gpu", "operator": "Exists"}]',
            "SER_OPERATOR_DEFAULT_QUEUE": "",
        }
    )

    assert settings.gpu_node_selector == {"gpu": "h100"}
    assert [one.key for one in settings.gpu_tolerations] == ["gpu"]
    assert settings.default_queue is None


def test_what_may_be_asked_for_is_json_and_keeps_the_defaults_of_what_it_does_not_say():
    allow = from_environment({"SER_OPERATOR_IMAGE": "x", "SER_OPERATOR_ALLOW": '{"priorityClasses": ["low"]}'}).allow

    assert (allow.priority_classes, allow.secrets) == (("low",), ("ser-*",))


def test_the_lists_of_version_0_1_0_are_taken_and_win():
    earlier = {"SECRETS": "a,b", "STORAGE": "", "ENDPOINTS": "*"}
    given = {f"SER_OPERATOR_ALLOWED_{name}": value for name, value in earlier.items()}

    allow = from_environment({"SER_OPERATOR_IMAGE": "x", "SER_OPERATOR_ALLOW": '{"gpus": 8, "secrets": ["c"]}', **given}).allow

    assert (allow.secrets, allow.write, allow.endpoints, allow.gpus) == (("a", "b"), (), ("*",), 8)


def test_the_image_must_be_given():
    with pytest.raises(SpecError, match="SER_OPERATOR_IMAGE"):
        from_environment({})


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_stands_in_the_manual(field):
    assert f"SER_OPERATOR_{field.upper()}" in MANUAL or f"_{field.upper()}`" in MANUAL


def defaults_in_the_manual():
    """Field and default of each row of the table, where it says the default itself."""
    for names, default in re.findall(r"^\| (`SER_OPERATOR_[^|]*) \| ([^|]*) \|", MANUAL, re.MULTILINE):
        fields = [name.removeprefix("SER_OPERATOR").lstrip("_").lower() for name in names.strip("`").split("`, `")]
        if default != "required" and not default.startswith("as the chart's") and not fields[0].startswith("allowed_"):
            yield from zip(fields, default.split(", ") if len(fields) > 1 else [default], strict=True)


@pytest.mark.parametrize(("field", "default"), defaults_in_the_manual())
def test_every_default_in_the_manual_is_that_of_the_operator(field, default):
    text = {"none": "", "empty": "", "all": ""}.get(default, default.strip("`"))

    told = from_environment({"SER_OPERATOR_IMAGE": "x", f"SER_OPERATOR_{field.upper()}": text})

    assert told == Settings(image="x")


@pytest.mark.parametrize("label", [labels.RUN, labels.RUN_UID, labels.ITERATION, labels.STAGE, labels.ATTEMPT, labels.MODE, labels.QUEUE])
def test_every_label_stands_in_the_manual(label):
    assert f"`{label}`" in MANUAL
