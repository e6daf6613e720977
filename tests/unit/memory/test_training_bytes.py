"""Planned bytes of a training against those that lived, on gloo."""

import json
from itertools import product
from pathlib import Path

import pytest
from ports import free_port
from unit.learn.processes import together
from unit.memory.measured import CASES, KINDS, measured, process

from ser_core.memory.training import Sharding

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Sharding], tuple[float, float]]:
    """Planned and measured bytes of one of two processes."""
    folder: Path = tmp_path_factory.mktemp("measured")
    together(process, 2, 2, free_port(), folder)
    return {
        (kind, case): tuple(json.loads((folder / f"{kind}-2-{case}.json").read_text(encoding="utf-8")))
        for kind, case in product(KINDS, CASES)
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_two_processes_need_is_what_was_planned(of_two: dict[tuple[str, Sharding], tuple[float, float]], kind: str, case: Sharding):
    planned, lived = of_two[kind, case]
    assert 0.95 * lived <= planned <= 1.15 * lived


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recompute", [False, True])
def test_what_one_process_needs_is_what_was_planned(kind: str, recompute: bool):
    planned, lived = measured(Sharding(0, recompute), 1, kind, KINDS[kind])
    assert 0.95 * lived <= planned <= 1.15 * lived
