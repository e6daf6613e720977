"""Trainings whose moments are in main memory, in one process and in two on gloo, compared with those without.

Where tensors are is seen on a GPU that is not there: its tensors have no numbers.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ports import free_port
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from unit.learn.processes import Case, FineTuning, Outcome, keep, process, together, trained

from ser_core.learn.compute import offload, pieces
from ser_core.learn.compute.engine import LocalEngine
from ser_core.learn.compute.offload import OffloadedAdamW

STAGES = (1, 2, 3)
RESUMED = (2, 3)
pytestmark = pytest.mark.timeout(900)
Outcomes = dict[str, list[Outcome]]


@pytest.fixture(scope="module")
def of_two(bert: Path, qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """What came out of all cases, by name: ``plain`` ones, and the same with moments in main memory."""
    folder = tmp_path_factory.mktemp("offload")
    keep(trained(Case("one", bert, stop_in=0)).saved, folder / "one")
    plain = [Case(f"whole-{stage}", bert, stage) for stage in STAGES]
    plain += [Case(f"stopped-{stage}", bert, stage, stop_in=1) for stage in RESUMED]
    plain += [FineTuning("policy", qwen, 3, recompute=True), FineTuning("adapter", qwen, 2, adapter=True)]
    plain += [Case("pieces", qwen, 3, recompute=True, together=True, pieces=True), Case("broken", bert, 2, broken=True)]
    cases = plain + [replace(case, name=f"offloaded-{case.name}", offload=True) for case in plain]
    cases += [Case(f"resumed-{stage}", bert, stage, offload=True, resume=folder / f"offloaded-stopped-{stage}") for stage in RESUMED]
    cases += [Case("given", bert, 3, offload=True, resume=folder / "stopped-3")]
    cases += [Case("taken", bert, 2, resume=folder / "offloaded-stopped-2"), Case("from-one", bert, 3, offload=True, resume=folder / "one")]
    together(process, 2, 2, free_port(), cases, folder)
    return {case.name: [torch.load(folder / f"{case.name}-{rank}.pt", weights_only=False) for rank in range(2)] for case in cases}


def assert_same_bits(outcomes: list[Outcome], others: list[Outcome]) -> None:
    for outcome, other in zip(outcomes, others, strict=True):
        assert (outcome.error, outcome.plain) == (None, other.plain)
        assert outcome.weights.keys() == other.weights.keys()
        assert all(torch.equal(weight, other.weights[name]) for name, weight in outcome.weights.items())


@pytest.mark.parametrize("name", [*(f"whole-{stage}" for stage in STAGES), "policy", "adapter", "pieces"])
def test_two_processes_learn_the_same_bits(of_two: Outcomes, name: str):
    assert_same_bits(of_two[f"offloaded-{name}"], of_two[name])
    for outcome, other in zip(of_two[f"offloaded-{name}"], of_two[name], strict=True):
        told, expected = ((getattr(one.state, "history", ()), getattr(one.state, "losses", ())) for one in (outcome, other))
        assert told == expected, "losses and norms of the gradients"
        assert (outcome.offloaded, other.offloaded) == (True, False)


@pytest.mark.parametrize(("name", "whole"), [("resumed-2", 2), ("resumed-3", 3), ("given", 3), ("taken", 2)])
def test_a_training_that_was_stopped_ends_with_the_same_bits_wherever_its_moments_were(of_two: Outcomes, name: str, whole: int):
    assert_same_bits(of_two[name], of_two[f"whole-{whole}"])


def test_a_training_goes_on_from_one_process(of_two: Outcomes, bert: Path):
    alone = trained(Case("alone", bert))
    for outcome in of_two["from-one"]:
        torch.testing.assert_close(outcome.scores, alone.scores, rtol=0, atol=1e-4)


def test_a_loss_that_is_not_finite_ends_it(of_two: Outcomes):
    assert [outcome.error for outcome in of_two["offloaded-broken"]] == ["NonFiniteLoss"] * 2


@pytest.mark.parametrize("kind", [Case, FineTuning])
def test_one_process_learns_the_same_bits_also_after_a_stop(qwen: Path, tmp_path: Path, kind: type[Case]):
    whole, offloaded = trained(kind("plain", qwen)), trained(kind("offloaded", qwen, offload=True))
    assert_same_bits([offloaded], [whole])
    assert (offloaded.offloaded, whole.offloaded) == (True, False)
    keep(trained(kind("stopped", qwen, offload=True, stop_in=0)).saved, tmp_path)
    for moved in (False, True):
        assert_same_bits([trained(kind("resumed", qwen, offload=moved, resume=tmp_path))], [whole])


@pytest.mark.parametrize("shape", [(), (7,), (50, 3)])
def test_a_weight_that_comes_in_many_parts_learns_the_same(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]):
    monkeypatch.setattr(offload, "LARGEST_PART", 4)
    torch.manual_seed(0)
    first = nn.Parameter(torch.randn(shape))
    second = nn.Parameter(first.detach().clone())
    settings = {"lr": 1e-2, "weight_decay": 0.0, "fused": True}
    optimizers = torch.optim.AdamW([first], **settings), OffloadedAdamW([second], **settings)
    for _ in range(3):
        first.grad = torch.randn(shape)
        second.grad = first.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(second, first, rtol=1e-6, atol=1e-7)
    assert optimizers[1].state[second]["step"] == 3


@pytest.mark.parametrize("resumed", [False, True])
def test_moments_are_in_main_memory_and_weights_on_the_gpu(resumed: bool):
    with FakeTensorMode():
        network = nn.Linear(6, 3, device="cuda")
        engine = LocalEngine(network, 1e-3, None, offload=True)
        if resumed:
            engine = LocalEngine(network, 1e-3, {name: value.to("cpu") for name, value in stepped(engine).items()}, offload=True)
        found = stepped(engine)
    assert {name.split("/")[0]: value.device.type for name, value in found.items()} == {
        "weight": "cuda",
        "step": "cpu",
        "exp_avg": "cpu",
        "exp_avg_sq": "cpu",
    }


def stepped(engine: LocalEngine) -> dict[str, torch.Tensor]:
    for weight in engine.network.parameters():
        weight.grad = torch.randn_like(weight)
    engine._optimizer.step()
    return engine.tensors()


def test_a_network_that_only_scores_is_on_the_gpu_while_it_computes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pieces, "numbers_for_all", lambda _, device: lambda weight: weight.detach().to(device))
    with FakeTensorMode():
        network = nn.Linear(6, 3).requires_grad_(False)
        held = pieces.Pieces(network, "cuda", cut=False, offload=True)
        assert [weight.numel() for weight in network.parameters()] == [0, 0]
        assert {cut.piece.device.type for cut in held._cut.values()} == {"cpu"}
        with held.whole():
            assert {weight.device.type for weight in network.parameters()} == {"cuda"}
            assert network(torch.randn(2, 6, device="cuda")).shape == (2, 3)
        assert [weight.numel() for weight in network.parameters()] == [0, 0]
