"""Training in several processes, on gloo, compared with training in one.

Sums are added in another order there, and Adam magnifies the last bits of gradients near zero: after four steps the weights agree within
two hundredths of one step's rate, the gradients within 1e-6.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from ports import free_port
from unit.learn.processes import RATE, Case, FineTuning, Outcome, Scoring, before, keep, process, together, trained

from ser_core.api.spec.adapter import AdapterSpec
from ser_core.learn.compute.precision import Precision
from ser_core.learn.reward.reward_model import load
from ser_core.learn.reward.training import TrainingState

STAGES, STAGES_OF_FOUR = range(4), (1, 3)
"""Of two processes and of four, where optimizer, and then also gradients and weights, have other borders; two resume at stage 2."""
pytestmark = pytest.mark.timeout(900)  # six processes on a busy machine


@dataclass(frozen=True)
class Found:
    """What came out of all cases, by number of processes and name, one outcome for each process."""

    cases: dict[int, dict[str, Case]]
    outcomes: dict[int, dict[str, list[Outcome]]]
    folder: Path


@pytest.fixture(scope="module")
def found(bert: Path, qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Starting processes takes longer than training in them, so each group trains all its cases one after the other."""
    folder = tmp_path_factory.mktemp("distributed")
    cases: dict[int, dict[str, Case]] = {}
    outcomes: dict[int, dict[str, list[Outcome]]] = {}
    keep(trained(Case("one-stopped", bert, stop_in=0)).saved, folder / "one-stopped")
    keep(trained(Case("one-adapter-stopped", qwen, adapter=True, stop_in=0)).saved, folder / "one-adapter-stopped")
    adapted = load(qwen, Precision("cpu"), max_length=64, seed=5, adapter=AdapterSpec(rank=2, alpha=6))
    for _, weight in adapted.trainable():
        weight.data += 0.05
    adapted.store(folder / "adapted", base=qwen, half=True)
    for count, chosen in ((2, cases_of_two(bert, qwen, folder)), (4, cases_of_four(bert, qwen, folder))):
        cases[count] = {case.name: case for case in chosen}
        together(process, count, count, free_port(), chosen, folder)
        outcomes[count] = {
            name: [torch.load(folder / f"{name}-{rank}.pt", weights_only=False) for rank in range(count)] for name in cases[count]
        }
    return Found(cases, outcomes, folder)


def cases_of_two(bert: Path, qwen: Path, folder: Path) -> list[Case]:
    return [
        *(Case(f"two-whole-{stage}", bert, stage) for stage in STAGES),
        *(Case(f"two-adapter-{stage}", qwen, stage, adapter=True) for stage in STAGES),
        *(Case(f"two-first-step-{stage}", bert, stage, steps=1) for stage in STAGES),
        *(Case(f"two-stopped-{stage}", bert, stage, stop_in=1) for stage in STAGES),
        *(Case(f"two-resumed-{stage}", bert, stage, resume=folder / f"two-stopped-{stage}") for stage in STAGES),
        *(Case(f"two-broken-{stage}", bert, stage, broken=True) for stage in STAGES),
        Case("two-recomputed", qwen, 3, adapter=True, recompute=True),
        Case("two-half", qwen, 3, half=True, recompute=True),
        *(Case(f"two-low-half-{stage}", qwen, stage, adapter=True, half=True) for stage in (0, 2, 3)),
        Case("two-from-one", bert, 3, resume=folder / "one-stopped"),
        *(FineTuning(f"two-policy-whole-{stage}", qwen, stage) for stage in STAGES),
        *(FineTuning(f"two-policy-adapter-{stage}", qwen, stage, adapter=True, recompute=stage == 3) for stage in STAGES),
        *(FineTuning(f"two-policy-stopped-{stage}", qwen, stage, stop_in=1) for stage in (2, 3)),
        *(FineTuning(f"two-policy-resumed-{stage}", qwen, stage, resume=folder / f"two-policy-stopped-{stage}") for stage in (2, 3)),
        FineTuning("two-policy-half", qwen, 3, adapter=True, half=True, recompute=True),
        *(Case(f"two-together-{stage}", bert, stage, together=True) for stage in STAGES),
        Case("two-pieces", qwen, 3, adapter=True, recompute=True, together=True, pieces=True),
        Case(
            "two-pieces-resumed", qwen, 3, adapter=True, recompute=True, together=True, pieces=True, resume=folder / "one-adapter-stopped"
        ),
        FineTuning("two-policy-pieces", qwen, 3, adapter=True, recompute=True, together=True, pieces=True),
        *(Case(f"two-all-{pieces}", qwen, 3, recompute=True, together=True, pieces=pieces) for pieces in (False, True)),
        Case("two-all-resumed", bert, 3, recompute=True, together=True, pieces=True, resume=folder / "one-stopped"),
        *(FineTuning(f"two-policy-all-{pieces}", qwen, 3, recompute=True, together=True, pieces=pieces) for pieces in (False, True)),
        *(
            Scoring(f"two-scored-{base.name}-{half}", base, half=half)
            for base in (bert, qwen, folder / "adapted")
            for half in (False, True)
        ),
    ]


def cases_of_four(bert: Path, qwen: Path, folder: Path) -> list[Case]:
    return [
        *(Case(f"four-whole-{stage}", qwen, stage) for stage in STAGES_OF_FOUR),
        *(Case(f"four-adapter-{stage}", bert, stage, adapter=True) for stage in STAGES_OF_FOUR),
        Case("four-from-two", bert, 2, resume=folder / "two-stopped-3"),
        Case("four-from-one", bert, 3, resume=folder / "one-stopped"),
        *(FineTuning(f"four-policy-whole-{stage}", qwen, stage) for stage in STAGES_OF_FOUR),
        *(FineTuning(f"four-policy-adapter-{stage}", qwen, stage, adapter=True) for stage in STAGES_OF_FOUR),
        FineTuning("four-policy-from-two", qwen, 2, resume=folder / "two-policy-stopped-3"),
    ]


def assert_close(outcome: Outcome, alone: Outcome) -> None:
    assert outcome.error is None
    assert outcome.weights.keys() == alone.weights.keys()
    for name, weight in alone.weights.items():
        torch.testing.assert_close(outcome.weights[name], weight, rtol=0, atol=0.02 * RATE, msg=name)
    torch.testing.assert_close(outcome.scores, alone.scores, rtol=0, atol=1e-4)


def same_bits(outcome: Outcome, other: Outcome) -> bool:
    return all(torch.equal(weight, other.weights[name]) for name, weight in outcome.weights.items())


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_at_any_stage_ends_with_the_weights_of_one(found: Found, count: int):
    compared = 0
    for name, case in found.cases[count].items():
        if "-whole-" in name or "-adapter-" in name:
            alone = trained(case)
            outcomes = found.outcomes[count][name]
            for outcome in outcomes:
                assert outcome.plain
                assert_close(outcome, alone)
                assert same_bits(outcome, outcomes[0])
            compared += 1
    assert compared == 4 * len(STAGES if count == 2 else STAGES_OF_FOUR)


@pytest.mark.parametrize("count", [2, 4])
def test_the_log_tells_of_the_pairs_of_all_processes(found: Found, count: int):
    for kind in ("whole", "adapter"):
        name = f"{'two' if count == 2 else 'four'}-{kind}-1"
        expected = trained(found.cases[count][name]).state.history
        for outcome in found.outcomes[count][name]:
            for step, other in zip(outcome.state.history, expected, strict=True):
                assert (step.step, step.pairs, step.tokens, step.learning_rate) == (
                    other.step,
                    other.pairs,
                    other.tokens,
                    other.learning_rate,
                )
                assert step.loss == pytest.approx(other.loss, abs=1e-6)
                assert step.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_step_has_the_gradient_of_one_process_and_moves_every_weight(found: Found, stage: int):
    case = found.cases[2][f"two-first-step-{stage}"]
    outcome, alone = found.outcomes[2][case.name][0], trained(case).saved
    saved = TrainingState.read(found.folder / case.name)
    assert saved.tensors.keys() == alone.tensors.keys()
    untrained = before(case)
    assert [name for name, weight in outcome.weights.items() if torch.equal(weight, untrained[name])] == []
    for name in untrained:
        key = f"exp_avg/{name}"  # a tenth of the gradient
        torch.testing.assert_close(10 * saved.tensors[key], 10 * alone.tensors[key], rtol=0, atol=1e-6, msg=name)
        assert torch.equal(saved.tensors[f"weight/{name}"], outcome.weights[name])


@pytest.mark.parametrize("stage", STAGES)
def test_each_process_saves_the_numbers_that_it_owns(found: Found, stage: int):
    sizes = [numbers(outcome.saved) for outcome in found.outcomes[2][f"two-first-step-{stage}"]]
    assert sum(sizes) == numbers(trained(found.cases[2][f"two-first-step-{stage}"]).saved)
    assert max(sizes) == pytest.approx(sum(sizes) / (2 if stage else 1), rel=0.05)


def numbers(state: TrainingState) -> int:
    """How many a checkpoint has, steps aside."""
    return sum(tensor.numel() for name, tensor in state.tensors.items() if not name.startswith("step/"))


def test_in_the_end_rank_0_has_the_weights(found: Found):
    for stage in STAGES:
        first, second = found.outcomes[2][f"two-whole-{stage}"]
        assert first.state.tensors.keys() == {f"weight/{name}" for name in first.weights}
        assert second.state.tensors == {}


@pytest.mark.parametrize("stage", STAGES)
def test_stopped_by_any_process_and_resumed_it_ends_with_the_same_bits(found: Found, stage: int):
    stopped = found.outcomes[2][f"two-stopped-{stage}"]
    assert [outcome.error for outcome in stopped] == ["Interrupted", "Interrupted"]
    assert len(stopped[0].state.history) == 3
    for resumed, undisturbed in zip(found.outcomes[2][f"two-resumed-{stage}"], found.outcomes[2][f"two-whole-{stage}"], strict=True):
        assert resumed.state.history == undisturbed.state.history
        assert same_bits(resumed, undisturbed)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_fine_tuning_that_was_stopped_ends_with_the_same_bits(found: Found, stage: int):
    assert [outcome.error for outcome in found.outcomes[2][f"two-policy-stopped-{stage}"]] == ["Interrupted", "Interrupted"]
    for resumed, undisturbed in zip(
        found.outcomes[2][f"two-policy-resumed-{stage}"], found.outcomes[2][f"two-policy-whole-{stage}"], strict=True
    ):
        assert resumed.state.losses == undisturbed.state.losses
        assert same_bits(resumed, undisturbed)


@pytest.mark.parametrize("count", [2, 4])
def test_any_number_of_processes_has_the_losses_of_one(found: Found, count: int):
    name = f"{'two' if count == 2 else 'four'}-policy-whole-3"
    expected = trained(found.cases[count][name]).state.losses
    for outcome in found.outcomes[count][name]:
        assert outcome.state.losses == pytest.approx(expected, abs=1e-6)


def test_a_fine_tuning_resumes_with_another_number_of_processes(found: Found, qwen: Path):
    alone = trained(FineTuning("undisturbed", qwen))
    assert_close(trained(FineTuning("one-from-two", qwen, resume=found.folder / "two-policy-stopped-3")), alone)
    for outcome in found.outcomes[4]["four-policy-from-two"]:
        assert_close(outcome, alone)


def test_it_resumes_with_another_number_of_processes_and_another_stage(found: Found, bert: Path):
    alone = trained(Case("undisturbed", bert))
    assert_close(trained(Case("one-from-two", bert, resume=found.folder / "two-stopped-3")), alone)
    for count, name in ((2, "two-from-one"), (4, "four-from-two"), (4, "four-from-one")):
        for outcome in found.outcomes[count][name]:
            assert_close(outcome, alone)


def test_a_trunk_in_bf16_is_cut_as_well(found: Found):
    expected = trained(found.cases[2]["two-half"]).state.history
    for outcome in found.outcomes[2]["two-half"]:
        assert {weight.dtype for weight in outcome.weights.values()} == {torch.float32}
        assert [step.loss for step in outcome.state.history] == pytest.approx([step.loss for step in expected], abs=1e-2)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_what_lies_below_an_adapter_stays_in_bf16(found: Found, stage: int):
    case = found.cases[2][f"two-low-half-{stage}"]
    expected = trained(case).state.history
    for outcome in found.outcomes[2][case.name]:
        assert {weight.dtype for weight in outcome.weights.values()} == {torch.float32, torch.bfloat16}
        assert [step.loss for step in outcome.state.history] == pytest.approx([step.loss for step in expected], abs=1e-2)


def test_an_adapter_of_a_policy_learns_in_bf16_as_well(found: Found):
    expected = trained(found.cases[2]["two-policy-half"]).state.losses
    for outcome in found.outcomes[2]["two-policy-half"]:
        assert outcome.state.losses == pytest.approx(expected, abs=1e-2)


def test_recomputing_activations_changes_no_bit(found: Found):
    for outcome, other in zip(found.outcomes[2]["two-recomputed"], found.outcomes[2]["two-adapter-3"], strict=True):
        assert same_bits(outcome, other)


@pytest.mark.parametrize("stage", STAGES)
def test_a_loss_that_is_not_finite_ends_the_training_in_all_processes(found: Found, stage: int):
    assert [outcome.error for outcome in found.outcomes[2][f"two-broken-{stage}"]] == ["NonFiniteLoss"] * 2


@pytest.mark.parametrize("stage", STAGES)
def test_weights_that_rank_0_alone_has_read_are_those_of_all(found: Found, stage: int):
    for outcome, other in zip(found.outcomes[2][f"two-together-{stage}"], found.outcomes[2][f"two-whole-{stage}"], strict=True):
        assert same_bits(outcome, other)
        assert torch.equal(outcome.scores, other.scores)


@pytest.mark.parametrize(("name", "whole"), [("two-pieces", "two-recomputed"), ("two-policy-pieces", "two-policy-adapter-3")])
def test_a_base_that_stays_in_pieces_changes_no_bit_of_what_is_learnt_and_computed(found: Found, name: str, whole: str):
    for outcome, other in zip(found.outcomes[2][name], found.outcomes[2][whole], strict=True):
        learnt = {name: weight for name, weight in outcome.weights.items() if weight.numel()}
        assert learnt.keys() >= before(found.cases[2][name]).keys()
        assert all(torch.equal(weight, other.weights[name]) for name, weight in learnt.items())
        assert 0 < len(learnt) < len(other.weights), "layers are empty while nothing computes"
        assert torch.equal(outcome.scores, other.scores)


def test_a_training_with_its_base_in_pieces_goes_on_from_one_of_one_process(found: Found, qwen: Path):
    expected = trained(Case("undisturbed", qwen, adapter=True)).scores
    for outcome in found.outcomes[2]["two-pieces-resumed"]:
        torch.testing.assert_close(outcome.scores, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["two-all", "two-policy-all"])
def test_a_model_of_which_all_weights_learn_is_never_whole_and_ends_with_the_same_bits(found: Found, name: str):
    for outcome, other in zip(found.outcomes[2][f"{name}-True"], found.outcomes[2][f"{name}-False"], strict=True):
        assert outcome.weights.keys() == other.weights.keys()
        assert same_bits(outcome, other)
        assert torch.equal(outcome.scores, other.scores)


def test_what_processes_have_of_a_model_in_pieces_is_all_that_a_training_has_made(found: Found, tmp_path: Path):
    outcomes = found.outcomes[2]["two-all-True"]
    for rank, outcome in enumerate(outcomes):
        keep(outcome.state, tmp_path / f"rank-{rank}" if rank else tmp_path)
    saved = TrainingState.read(tmp_path).tensors
    assert {name: torch.equal(saved[f"weight/{name}"], weight) for name, weight in outcomes[0].weights.items()} == dict.fromkeys(
        outcomes[0].weights, True
    )


def test_a_training_in_pieces_goes_on_from_one_of_one_process(found: Found, bert: Path):
    for outcome in found.outcomes[2]["two-all-resumed"]:
        assert_close(outcome, trained(Case("undisturbed", bert)))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("base", ["bert", "qwen", "adapted"])
def test_a_network_in_pieces_has_the_scores_of_a_whole_one_to_the_last_bit(found: Found, base: str, half: bool):
    (case,) = [
        case for name, case in found.cases[2].items() if name.startswith("two-scored-") and base in name and name.endswith(str(half))
    ]
    first, second = (outcome.scores for outcome in found.outcomes[2][case.name])
    assert torch.equal(torch.where(first.isnan(), second, first), trained(case).scores)
    assert (first.isnan().sum(), second.isnan().sum()) == (1, len(first) - 1)
