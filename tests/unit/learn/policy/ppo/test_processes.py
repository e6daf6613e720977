"""Alignments in several processes, on gloo, compared with those in one.

Sums are added in another order there, and Adam magnifies the last bits of gradients near zero: after a dozen updates the weights agree
within two hundredths of one update's rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from ports import free_port
from unit.learn.policy.ppo.processes import RATE, STEPS, Case, Outcome, aligned, keep, process
from unit.learn.processes import together

from ser_core.learn.policy.ppo import checkpoint

STAGES = range(4)
WORDS = {2: "two", 4: "four"}
CASES = {
    2: {"whole": STAGES, "adapter": (1, 3), "pieces": (1,), "rloo": (0, 2, 3), "too-far": STAGES, "poisoned": (0, 2, 3), "all": (3,)},
    4: {"whole": (1, 3), "rloo": (3,), "pieces": (1,), "all": (3,)},
}
"""ZeRO stages by number of processes and kind of alignment."""
RESUMED = (0, 3)
pytestmark = pytest.mark.timeout(900)  # six processes on a busy machine


@dataclass(frozen=True)
class Found:
    """What came out of all cases, one outcome for each process, and of the same alignments in one process."""

    outcomes: Mapping[str, list[Outcome]]
    alone: Mapping[str, Outcome]
    folder: Path


@pytest.fixture(scope="module")
def found(qwen: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Starting processes takes longer than aligning in them, so each group takes all its cases one after the other."""
    folder = tmp_path_factory.mktemp("aligned")
    kinds = {"whole": {}, "adapter": {"adapter": True}, "rloo": {"changes": "rloo"}, "too-far": {"changes": "too far"}}
    kinds |= {"poisoned": {"poisoned": True, "steps": 5}}
    alone = {name: aligned(Case(name, qwen, bert, **kind)) for name, kind in kinds.items()}
    kinds |= {"pieces": {"adapter": True, "pieces": True, "recompute": True}}
    kinds |= {"all": {"pieces": True, "recompute": True}, "poisoned-all": {"poisoned": True, "steps": 5, "pieces": True, "recompute": True}}
    alone |= {"pieces": alone["adapter"], "all": alone["whole"]}
    keep(aligned(Case("one-stopped", qwen, bert, stop=True)), folder / "one-stopped")
    two = [Case(f"two-{name}-{stage}", qwen, bert, stage, **kinds[name]) for name, stages in CASES[2].items() for stage in stages]
    two += [Case(f"two-stopped-{stage}", qwen, bert, stage, stop=True) for stage in RESUMED]
    two += [Case(f"two-resumed-{stage}", qwen, bert, stage, resume=folder / f"two-stopped-{stage}") for stage in RESUMED]
    two += [Case("two-pieces-stopped", qwen, bert, 1, **kinds["pieces"], stop=True)]
    two += [Case("two-pieces-resumed", qwen, bert, 1, **kinds["pieces"], resume=folder / "two-pieces-stopped")]
    two += [Case("two-all-stopped", qwen, bert, 3, **kinds["all"], stop=True)]
    two += [Case("two-all-resumed", qwen, bert, 3, **kinds["all"], resume=folder / "two-all-stopped")]
    two += [Case(f"two-offload-{stage}", qwen, bert, stage, offload=True) for stage in (1, 3)]
    two += [Case("two-poisoned-offload", qwen, bert, 2, offload=True, **kinds["poisoned"])]
    two += [Case("two-poisoned-all", qwen, bert, 3, **kinds["poisoned-all"])]
    two += [Case("two-recomputed", qwen, bert, 3, recompute=True), Case("two-from-one", qwen, bert, 3, resume=folder / "one-stopped")]
    four = [Case(f"four-{name}-{stage}", qwen, bert, stage, **kinds[name]) for name, stages in CASES[4].items() for stage in stages]
    four += [Case("four-from-two", qwen, bert, 2, resume=folder / "two-stopped-3")]
    outcomes: dict[str, list[Outcome]] = {}
    for count, cases in ((2, two), (4, four)):
        together(process, count, count, free_port(), cases, folder)
        for case in cases:
            outcomes[case.name] = [torch.load(folder / f"{case.name}-{rank}.pt", weights_only=False) for rank in range(count)]
    return Found(outcomes, alone, folder)


def assert_close(outcome: Outcome, alone: Outcome) -> None:
    assert outcome.weights.keys() == alone.weights.keys()
    for name, weight in alone.weights.items():
        torch.testing.assert_close(outcome.weights[name], weight, rtol=0, atol=0.02 * RATE, msg=name)
    for step, other in zip(outcome.history, alone.history, strict=True):
        for name in ("score", "reward", "kl", "answer_tokens", "policy_loss", "value_loss", "explained_variance", "policy_gradient_norm"):
            expected = getattr(other, name)  # None: of a critic that there is not
            close = expected if expected is None else pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)
            assert getattr(step, name) == close, name
        assert (step.updates, step.skipped, step.rolled_back, step.ended_early) == (
            other.updates,
            other.skipped,
            other.rolled_back,
            other.ended_early,
        )


def same_bits(outcome: Outcome, other: Outcome) -> bool:
    return all(torch.equal(weight, other.weights[name]) for name, weight in outcome.weights.items())


@pytest.mark.parametrize("name", ["whole", "adapter", "pieces", "all", "rloo"])
@pytest.mark.parametrize("count", WORDS)
def test_any_number_of_processes_at_any_stage_ends_with_the_weights_of_one(found: Found, count: int, name: str):
    for stage in CASES[count].get(name, ()):
        outcomes = found.outcomes[f"{WORDS[count]}-{name}-{stage}"]
        for outcome in outcomes:
            assert outcome.plain
            assert_close(outcome, found.alone[name])
            assert same_bits(outcome, outcomes[0])


def test_a_base_in_pieces_changes_no_bit_of_what_is_learnt_and_is_held_once(found: Found):
    for outcome, whole in zip(found.outcomes["two-pieces-1"], found.outcomes["two-adapter-1"], strict=True):
        assert outcome.held_once
        assert same_bits(outcome, whole)
        assert (outcome.copied, outcome.sampled) == (whole.copied, whole.sampled)
        assert [step.score for step in outcome.history] == [step.score for step in whole.history]
    for resumed, undisturbed in zip(found.outcomes["two-pieces-resumed"], found.outcomes["two-pieces-1"], strict=True):
        assert same_bits(resumed, undisturbed)


@pytest.mark.parametrize(("name", "other"), [("offload-1", "whole-1"), ("offload-3", "whole-3"), ("poisoned-offload", "poisoned-2")])
def test_what_main_memory_holds_changes_no_bit(found: Found, name: str, other: str):
    for outcome, plain in zip(found.outcomes[f"two-{name}"], found.outcomes[f"two-{other}"], strict=True):
        assert same_bits(outcome, plain)
        assert (outcome.copied, outcome.sampled) == (plain.copied, plain.sampled)
        assert [str(step.policy_loss) for step in outcome.history] == [str(step.policy_loss) for step in plain.history]


@pytest.mark.parametrize("adapter", [False, True])
def test_what_main_memory_holds_changes_no_bit_in_one_process(found: Found, qwen: Path, bert: Path, adapter: bool):
    outcome = aligned(Case("offload", qwen, bert, offload=True, adapter=adapter))
    assert same_bits(outcome, found.alone["adapter" if adapter else "whole"])


def test_networks_of_which_all_weights_learn_are_never_whole_and_end_with_the_same_bits(found: Found):
    for outcome, whole in zip(found.outcomes["two-all-3"], found.outcomes["two-recomputed"], strict=True):
        assert same_bits(outcome, whole)
        assert (outcome.copied, outcome.sampled) == (whole.copied, whole.sampled)
    for name, undisturbed in (("two-all-resumed", "two-all-3"), ("two-poisoned-all", "two-poisoned-3")):
        for outcome, other in zip(found.outcomes[name], found.outcomes[undisturbed], strict=True):
            assert same_bits(outcome, other)


@pytest.mark.parametrize("stage", CASES[2]["too-far"])
def test_an_update_that_is_not_taken_leaves_no_gradient_behind(found: Found, stage: int):
    assert [step.ended_early for step in found.alone["too-far"].history] == [True] * STEPS
    for outcome in found.outcomes[f"two-too-far-{stage}"]:
        assert_close(outcome, found.alone["too-far"])


@pytest.mark.parametrize("stage", CASES[2]["poisoned"])
def test_after_a_roll_back_all_processes_have_the_good_weights(found: Found, stage: int):
    assert [step.rolled_back for step in found.alone["poisoned"].history] == [False, False, False, True, False]
    for outcome in found.outcomes[f"two-poisoned-{stage}"]:
        assert_close(outcome, found.alone["poisoned"])


@pytest.mark.parametrize("stage", STAGES)
def test_the_first_steps_gradients_are_those_of_one_process(found: Found, stage: int):
    """A checkpoint has their running means."""
    saved, alone = checkpoint.read(found.folder / f"two-whole-{stage}"), found.alone["whole"].saved
    assert saved.policy.keys() == alone.policy.keys()
    assert saved.critic.keys() == alone.critic.keys()
    for tensors, expected in ((saved.policy, alone.policy), (saved.critic, alone.critic)):
        for name in (name for name in expected if name.startswith("exp_avg/")):
            torch.testing.assert_close(tensors[name], expected[name], rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("stage", STAGES)
def test_generation_has_the_weights_of_each_step(found: Found, stage: int):
    for outcome in found.outcomes[f"two-whole-{stage}"]:
        assert outcome.copied == pytest.approx(found.alone["whole"].copied, abs=1e-3)
    assert len(set(found.alone["whole"].copied)) == STEPS


@pytest.mark.parametrize("stage", RESUMED)
def test_stopped_by_any_process_and_resumed_it_ends_with_the_same_bits(found: Found, stage: int):
    assert [outcome.stopped for outcome in found.outcomes[f"two-stopped-{stage}"]] == [True, True]
    for resumed, undisturbed in zip(found.outcomes[f"two-resumed-{stage}"], found.outcomes[f"two-whole-{stage}"], strict=True):
        assert same_bits(resumed, undisturbed)


def test_it_resumes_with_another_number_of_processes_and_another_stage(found: Found, qwen: Path, bert: Path):
    assert_close(aligned(Case("one-from-two", qwen, bert, resume=found.folder / "two-stopped-3")), found.alone["whole"])
    for name in ("two-from-one", "four-from-two"):
        for outcome in found.outcomes[name]:
            assert_close(outcome, found.alone["whole"])


def test_recomputing_activations_changes_no_bit(found: Found):
    for outcome, other in zip(found.outcomes["two-recomputed"], found.outcomes["two-whole-3"], strict=True):
        assert same_bits(outcome, other)
