from dataclasses import replace

import pytest

from ser_core.learn.compute.sharding import Sharding, Size, choose_sharding, state_bytes

GIGABYTE = 1 << 30
SMALL = Size(trainable=22_000_000, frozen=0, hidden=384, layers=6, tokens=8192, half=True)
EIGHT_BILLION = Size(trainable=8_000_000_000, frozen=0, hidden=4096, layers=32, tokens=8192, half=True)


def test_without_a_gpu_nothing_is_cut():
    assert choose_sharding(EIGHT_BILLION, None, 4) == Sharding(0, recompute=False)


def test_what_fits_is_not_cut():
    assert choose_sharding(SMALL, 80 * GIGABYTE, 8) == Sharding(0, recompute=False)


@pytest.mark.parametrize(("trainable", "stage"), [(3_000_000_000, 0), (4_000_000_000, 1), (6_000_000_000, 2), (16_000_000_000, 3)])
def test_the_lowest_stage_that_fits_is_taken(trainable: int, stage: int):
    assert choose_sharding(replace(EIGHT_BILLION, trainable=trainable), 80 * GIGABYTE, 8).stage == stage


def test_an_adapter_needs_no_memory_for_gradients_of_the_frozen_weights():
    adapted = replace(EIGHT_BILLION, trainable=40_000_000, frozen=8_000_000_000)
    assert choose_sharding(adapted, 80 * GIGABYTE, 8).stage == 0


def test_activations_that_do_not_fit_are_recomputed():
    assert not choose_sharding(replace(SMALL, tokens=100_000), 80 * GIGABYTE, 2).recompute
    assert choose_sharding(replace(SMALL, tokens=2_000_000), 80 * GIGABYTE, 2).recompute


def test_more_processes_never_need_more_memory_each():
    for stage in range(4):
        needs = [state_bytes(EIGHT_BILLION, stage, processes) for processes in (2, 4, 8, 64)]
        assert needs == sorted(needs, reverse=True)


@pytest.mark.parametrize(("billions", "frozen", "stage", "processes"), [(3, 0, 0, 1), (19, 0, 3, 8), (0, 12, 0, 1)])
def test_the_largest_models_are_those_that_the_manual_says(billions: int, frozen: int, stage: int, processes: int):
    sizes = [
        replace(EIGHT_BILLION, trainable=(billions + more) * 10**9 * (billions > 0), frozen=(frozen + more) * 10**9 * (frozen > 0))
        for more in (0, 1)
    ]

    fits = [state_bytes(size, stage, processes) <= 0.6 * 80e9 for size in sizes]

    assert fits == [True, False]
