"""The benchmark of a GPU, as far as it can be tried without one: what it asks for, reckons and prints."""

import json
from importlib import import_module
from importlib.util import find_spec
from unittest.mock import patch

import pytest
import torch
from unit.memory.sizes import decoder

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.case import SMOKE, Case
from benchmarks.gpu.measure import run_case
from benchmarks.gpu.operations import passes_of, share_of_peak
from benchmarks.gpu.stage import Clock
from ser_core.learn.compute.offload import OffloadedAdamW
from ser_core.memory.amounts import GIBIBYTE


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_measures_nothing(capsys):
    assert gpu.main([]) == 2
    assert "torch finds none here; --smoke" in capsys.readouterr().err


def test_a_rate_leaves_out_what_warms_up():
    clock = Clock([(0.0, 0, 8), (50.0, 1, 8), (60.0, 2, 8), (62.0, 4, 8), (66.0, 8, 8)])
    assert clock.rate == 1.0


def test_the_share_of_peak_counts_the_operations_of_all_weights():
    shape = decoder("8B")
    weights = shape.weights + shape.output
    assert share_of_peak(6 * 989e12 / (6 * weights), shape, "NVIDIA H100 80GB HBM3") == pytest.approx(1)
    assert share_of_peak(1.0, shape, "an unknown GPU") is None
    assert passes_of(Case("retrain", "8B")) == 6
    assert passes_of(Case("ppo", "8B", adapter=True)) == 5 * 2 + 2 * 4


def test_cases_are_chosen_by_their_names():
    assert [case.name for case in gpu.wanted(["ppo"], smoke=False)] == [
        *("ppo 0.5B", "ppo 1.5B adapter", "ppo 1.5B adapter vllm", "ppo 0.5B offload")
    ]
    assert {case.size for case in gpu.wanted(None, smoke=True)} == {"tiny"}


def test_a_case_that_fails_or_has_no_time_left_costs_only_itself(monkeypatch, tmp_path):
    case = Case("label", "tiny")
    assert gpu.run(case, tmp_path, 1, smoke=True) == {"failed": "no time left"}
    monkeypatch.setattr(gpu.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": 1, "stderr": "why\n"})())
    assert gpu.line(case, gpu.run(case, tmp_path, 60, smoke=True)).endswith("why")


def test_a_row_shows_plan_and_truth():
    result = {"tokens_per_second": 12345.6, "share_of_peak": 0.414, "planned": 61 * GIBIBYTE, "reached": 58.5 * GIBIBYTE}
    assert gpu.line(Case("retrain", "8B", adapter=True), result).split() == [
        *("retrain", "8B", "adapter", "12,346", "41%", "61.0", "GiB", "58.5", "GiB")
    ]


@pytest.mark.parametrize("case", [Case("label", "tiny"), Case("retrain", "tiny", adapter=True)], ids=lambda case: case.name)
def test_a_stage_is_measured_as_it_is_shipped(case, tmp_path):
    found = run_case(case, tmp_path, SMOKE)
    assert found.tokens_per_second > 0
    assert found.planned is not None
    json.dumps(found.tokens_per_second)


@pytest.mark.parametrize("work", ["retrain", "ppo"])
def test_a_stage_is_measured_with_its_moments_in_main_memory(work, tmp_path):
    stage = import_module(f"ser_jobs.stages.{work}")
    with (
        patch.object(stage, "refuse_what_does_not_fit", stage.refuse_what_does_not_fit),
        patch.object(OffloadedAdamW, "_change", autospec=True, side_effect=OffloadedAdamW._change) as changes,
    ):
        plain, moved = (run_case(Case(work, "tiny", offload=offload), tmp_path, SMOKE).planned for offload in (False, True))
    assert changes.called
    assert moved < plain


@pytest.mark.skipif(find_spec("vllm") is not None, reason="there is vLLM")
def test_without_vllm_its_case_says_so(tmp_path):
    assert "vllm" in gpu.run(Case("ppo", "tiny", vllm=True), tmp_path, 300, smoke=True)["failed"]
