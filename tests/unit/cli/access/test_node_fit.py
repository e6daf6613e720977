"""Whether a node fits, as the scheduler will see it."""

import pytest

from ser_core.api.serrun import SERRunSpec
from ser_core.api.values.quantity import quantity
from ser_core.cli.access.node_fit import fits

SPEC = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://bucket/runs"},
}
GPU_TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule", "value": "present"}


def node(name, gpus="8", cpu="64", memory="256Gi", labels=None, taints=()):
    allocatable = {"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": {"taints": list(taints)}, "status": {"allocatable": allocatable}}


def retrain(wanted, *nodes):
    spec = SERRunSpec.model_validate({**SPEC, "resources": {"retrain": wanted}})
    return next(fit for fit in fits(spec, nodes) if fit.stage == "retrain")


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ({"gpus": 9}, "big: 8 GPUs of 9"),
        ({"cpu": "65"}, "big: 64 CPU of 65"),
        ({"memory": "300Gi"}, "big: 256Gi memory of 300Gi"),
        ({"nodeSelector": {"pool": "a100"}}, "big: no label pool=a100"),
    ],
)
def test_what_is_lacking_is_named(wanted, nearest):
    fit = retrain(wanted, node("big"), node("small", gpus="0", cpu="1", memory="1Gi", taints=[GPU_TAINT]))
    assert (fit.nodes, fit.nearest) == ((), nearest)


@pytest.mark.parametrize(
    ("wanted", "taint"),
    [
        ({"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}, GPU_TAINT),
        ({"tolerations": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]}, GPU_TAINT),
        ({"tolerations": [{"operator": "Exists"}]}, GPU_TAINT),
        ({}, {"key": "x", "effect": "PreferNoSchedule"}),
    ],
)
def test_a_taint_that_is_tolerated_is_none(wanted, taint):
    assert retrain(wanted, node("tainted", taints=[taint])).nodes == ("tainted",)


@pytest.mark.parametrize(
    "tolerations",
    [
        [],
        [{"key": "other", "operator": "Exists"}],
        [{"key": "nvidia.com/gpu", "value": "absent"}],
        [{"operator": "Exists", "effect": "NoExecute"}],
    ],
)
def test_another_toleration_does_not_help(tolerations):
    fit = retrain({"tolerations": tolerations}, node("tainted", taints=[GPU_TAINT]))
    assert fit.nearest == "tainted: taint nvidia.com/gpu is not tolerated"


def test_without_nodes_nothing_fits():
    assert retrain({}).nearest == "the cluster has no nodes"


def test_policy_stages_count_only_with_a_policy():
    assert {fit.stage for fit in fits(SERRunSpec.model_validate(SPEC), [])} == {"prepare", "label", "filter", "retrain"}


@pytest.mark.parametrize(("text", "number"), [("500m", 0.5), ("2", 2), ("1Ki", 1024), ("3G", 3e9), ("1.5Gi", 1.5 * 2**30), ("1k", 1000)])
def test_quantities(text, number):
    assert quantity(text) == number
