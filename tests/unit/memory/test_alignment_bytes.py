"""Planned bytes of an alignment against those that lived, on gloo."""

import json
from pathlib import Path

import pytest
from ports import free_port
from unit.learn.processes import together
from unit.memory.aligned import CASES, ROWS, Case, measured, process

from ser_core.memory import alignment
from ser_core.memory.training import UNSHARDED

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict[Case, tuple[float, float]]:
    """Planned and measured bytes of one of two processes."""
    folder: Path = tmp_path_factory.mktemp("aligned")
    together(process, 2, 2, free_port(), folder)
    return {case: tuple(json.loads((folder / f"{case}.json").read_text(encoding="utf-8"))) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_two_processes_need_is_what_was_planned(of_two: dict[Case, tuple[float, float]], case: Case):
    planned, lived = of_two[case]
    assert 0.95 * lived <= planned <= 1.15 * lived


@pytest.mark.parametrize("case", [Case(UNSHARDED), Case(UNSHARDED, rloo=True), Case(UNSHARDED, adapter=True)], ids=str)
def test_what_one_process_needs_is_what_was_planned(case: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(alignment, "ROWS_TOGETHER", ROWS)  # there is no evaluation here, which has more rows than a step
    planned, lived = measured(case, 1)
    assert 0.95 * lived <= planned <= 1.15 * lived
