"""Planned bytes of a training against those that lived, on gloo."""

import json
from pathlib import Path

import pytest
from ports import free_port
from unit.learn.processes import together
from unit.memory.measured import CASES, KINDS, Case, measured, process, scored

from ser_core.memory.training import Sharding

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Planned and measured bytes of two processes."""
    folder: Path = tmp_path_factory.mktemp("measured")
    together(process, 2, 2, free_port(), folder)
    return folder


def assert_as_planned(file: Path) -> None:
    planned, lived = json.loads(file.read_text(encoding="utf-8"))
    assert 0.95 * lived <= planned <= 1.15 * lived


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_two_processes_need_is_what_was_planned(of_two: Path, case: Case):
    assert_as_planned(of_two / f"{case}.json")


@pytest.mark.parametrize("rank", [0, 1])
def test_scoring_in_pieces_needs_what_was_planned(of_two: Path, rank: int):
    assert_as_planned(of_two / f"scored-{rank}.json")


def test_scoring_with_a_whole_network_needs_what_was_planned():
    planned, lived = scored(1)
    assert 0.95 * lived <= planned <= 1.15 * lived


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_what_one_process_needs_is_what_was_planned(kind: str, recompute: bool, offload: bool):
    planned, lived = measured(Case(kind, Sharding(0, recompute, offload=offload)), 1)
    assert 0.95 * lived <= planned <= 1.15 * lived
