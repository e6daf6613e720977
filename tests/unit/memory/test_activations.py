"""The table of activations against the tensors that autograd keeps."""

from typing import Any

import pytest
from unit.memory.families import FAMILIES, LENGTH, OTHERS, ROWS, kept_bytes, make

from ser_core.learn.compute.engine import recompute_layers
from ser_core.memory.activations import MicroBatch, activation_bytes
from ser_core.memory.shape import model_shape


@pytest.mark.parametrize("half", [True, False], ids=["bf16", "fp32"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [LENGTH, 4 * LENGTH], ids=["usual rows", "long rows"])
def test_the_planned_activations_are_those_that_are_kept(family: str, length: int, half: bool):
    planned, kept = planned_and_kept(family, length, half)
    assert 0.95 * kept <= planned <= 1.15 * kept


@pytest.mark.parametrize("half", [True, False], ids=["bf16", "fp32"])
@pytest.mark.parametrize("family", OTHERS)
def test_of_a_kind_without_a_row_of_its_own_no_more_is_kept_than_planned(family: str, half: bool):
    planned, kept = planned_and_kept(family, LENGTH, half)
    assert kept <= planned


@pytest.mark.parametrize("family", ["bert", "albert", "mpnet"])
def test_what_is_computed_again_is_not_kept(family: str):
    def network() -> Any:
        found = make(family)
        recompute_layers(found)
        return found

    assert kept_bytes(network, half=True) < 0.3 * kept_bytes(lambda: make(family), half=True)


def planned_and_kept(family: str, length: int, half: bool) -> tuple[float, float]:
    network = make(family)
    shape = model_shape(network.config.to_dict(), {name: tuple(part.shape) for name, part in network.named_parameters()})
    planned = activation_bytes(shape, MicroBatch(ROWS * length, length, half), recompute=False)
    return planned, kept_bytes(lambda: make(family), half=half, length=length)
