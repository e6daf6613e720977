"""The ladder's arithmetic; its runs are started by hand (docs/results.md)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.science.against import against
from benchmarks.science.averaged import average
from benchmarks.science.cells import Cell, cells, document
from benchmarks.science.document import DOCUMENT, with_tables
from benchmarks.science.filters import at_random, oracle, precision_by_band
from benchmarks.science.lessons import Label, Lesson, corrected, mismatched, of_models, with_gaps
from benchmarks.science.rows import Result, append_results, read_results
from benchmarks.science.steps import AS_IT_IS, SELECTIONS, STEPS, amount, selections
from benchmarks.science.table import ORDER, tables
from ser_core.api.serrun import SERRun
from ser_core.api.spec.loop import ThresholdsSpec
from ser_core.data.tables import Decision, LabeledPair, PoolPair
from ser_core.learn.trust.confident import FoldEvidence


def decision(number: int, better: int, confidence: float, *, kept: bool) -> Decision:
    return Decision(
        id=f"pair-{number}", score_1=0.0, score_2=0.0, better=better, confidence=confidence, status=0, kept=kept,
        target=1.0, weight=1.0, agrees=None,
    )  # fmt: skip


DECISIONS = [decision(n, better, 0.9 - n / 10, kept=n < 2) for n, better in enumerate((1, 2, 1, 2))]
TRUTH = {"pair-0": 2, "pair-1": 2, "pair-2": 1, "pair-3": 1}


def result(arm: str, seed: int, right: str, **others) -> Result:
    return Result(
        "docs-700",
        0.15,
        seed,
        arm,
        "abc",
        right.count("1") / len(right),
        0.5,
        right,
        [1] * len(right),
        [f"{n}" for n in range(len(right))],
        0.0,
        **others,
    )


def test_the_oracle_keeps_as_many_as_the_rule_but_only_right_ones_the_surest_first():
    assert oracle(DECISIONS, TRUTH) == {"pair-1": 2, "pair-2": 1}


def test_the_random_filter_keeps_as_many_self_labels_whether_right_or_not():
    drawn = [at_random(DECISIONS, seed) for seed in range(40)]
    assert {len(one) for one in drawn} == {2}
    assert {pair for one in drawn for pair in one} == set(TRUTH)


def test_self_labels_are_counted_in_bands_of_confidence():
    agrees = [one.better == TRUTH[one.id] for one in DECISIONS]
    told = [replace(one, agrees=right) for one, right in zip(DECISIONS, agrees, strict=True)]
    assert precision_by_band(told) == [None, 0.0, 1.0, 1.0, 0.0]


def test_adapters_are_averaged_number_by_number(tmp_path):
    for name, value in (("a", 1.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        save_file({"head": torch.full((2,), value)}, tmp_path / name / "adapter_model.safetensors")
    made = average([tmp_path / "a", tmp_path / "b"], tmp_path / "mean")
    assert load_file(made / "adapter_model.safetensors")["head"].tolist() == [2.0, 2.0]


def test_every_cell_is_a_valid_run(tmp_path):
    wanted = list(cells(["docs-700", "ukp"]))
    assert (len(wanted), wanted[0]) == (4 * (5 * 3 + 5), Cell("docs-700", 0.15, 0, "calibrated"))
    for cell in wanted:
        SERRun.model_validate(document(cell, tmp_path / "pairs.jsonl", 700, tmp_path / "model", tmp_path / "store"))


def test_the_last_line_of_a_place_counts(tmp_path):
    append_results([result("seed", 0, "0011"), result("seed", 0, "0111")], tmp_path / "results.jsonl")
    (read,) = read_results(tmp_path / "results.jsonl")
    assert read.accuracy == 0.75


def test_the_table_compares_pair_by_pair_and_names_what_is_missing():
    paper, ours = "0011" * 20, "0111" * 20
    found = [
        result("paper", 0, paper),
        result("calibrated", 0, ours, kept=[10], agreement=[0.8], elsewhere=0.5, bands=[[0.6, 0.9]]),
        result("seed", 1, paper),
    ]
    text = "\n".join(tables(found))
    assert "| paper | 1 | 0.500 | 0.500 |  |  | +0.0 |  | +25.0 (" in text
    assert "| calibrated | 1 | 0.750 | 0.500 | 10 | 0.800 | +0.0 | 0.500 |  |  |" in text
    assert "| seed | 1 | 0.500 | 0.500 |  |  | +0.0 |  |  |  |" in text  # no split in common
    assert "Missing: split 0, 2, 3, 4 of seed; split 0, 1, 2, 3, 4 of seedOnly, reference, before, pseudoLabelOnce, random" in text
    assert "- loop 1: 0.600, 0.900" in text
    assert "Not measured yet: docs-2800 at 15%, ukp at 15%" in text


EVIDENCE = FoldEvidence(
    margins=np.array([1.0, 0.8, 0.6, -0.2, 0.9, 0.4]),
    differences=np.array([0.5, 0.4, 0.1, -0.2, 0.3, 0.2]),
    folds=np.array([[2.0, -1.0, 0.5, -0.1, 0.3], [-0.2, -1.0, -0.4, -0.3, 0.1]]),
    pool_differences=np.array([0.7, -0.2, 0.1, 0.9, -0.9]),
)


def test_each_step_differs_from_the_rule_by_what_it_says():
    mean = np.stack([EVIDENCE.folds.mean(axis=0), np.zeros(5)])
    made = selections(mean, np.stack([np.array([-1.0, 2.0, 0.1, 0.2, 0.1]), np.zeros(5)]), EVIDENCE, ThresholdsSpec(), 1)
    assert list(made) == list(SELECTIONS)
    rule = made[AS_IT_IS]
    assert rule.kept.sum() == 3
    assert made["own scores"].better.tolist() == [2, 1, 1, 1, 1]
    assert made["no accord"].weight.tolist() != rule.weight.tolist()
    assert made["no length"].weight[rule.kept].tolist() != rule.weight[rule.kept].tolist()
    assert made["surest 30 %"].kept.sum() == 2
    assert made["all"].kept.sum() == 5
    assert made["soft"].target.tolist() == rule.confidence.tolist()
    assert made["soft, all"].kept.all()


def test_the_formula_takes_what_is_surer_than_it_costs():
    assert amount(10, np.array([1.0] * 5 + [0.5] * 20)) == 5
    assert amount(10, np.full(5, 0.5)) == 0


POOL = [PoolPair(f"pair-{n}", f"asked {n % 3}", f"one {n}", f"other {n}", "made") for n in range(6)]


def test_a_self_label_says_which_answer_is_learnt_as_the_better_one():
    labels = {"pair-0": Label(1), "pair-2": Label(2, target=0.8, weight=0.5)}
    assert of_models(POOL, labels) == [Lesson("asked 0", "one 0", "other 0"), Lesson("asked 2", "other 2", "one 2", 0.8, 0.5)]


def test_a_corrected_seed_adds_up_to_the_loss_of_self_labels_less_what_they_get_wrong_of_it():
    seed, chances, pool, losses = [LabeledPair("a", "p", "x", "y", "made")] * 4, {"a": 0.7}, 12, np.array([0.3, 1.9])

    def loss(target: float) -> float:
        return float(np.array([target, 1 - target]) @ losses)

    of_all, of_seed = loss(0.7) / 16, (loss(1.0) - loss(0.7)) / 4
    (target,) = {lesson.target for lesson in corrected(seed, chances, pool)}
    assert loss(target) / 16 == pytest.approx(of_all + of_seed)


def test_words_are_left_out_but_never_all():
    lessons = [Lesson("p", "a b c d e f g h", "x")] * 50
    answers = [lesson.better.split() for lesson in with_gaps(lessons, 0.3, 0)]
    assert 0.5 < sum(map(len, answers)) / 400 < 0.9
    assert {lesson.worse for lesson in with_gaps(lessons, 1.0, 0)} == {"x"}


def test_an_answer_of_another_prompt_is_the_worse_one():
    for lesson in mismatched(POOL, 0):
        better, worse = (int(answer.split()[1]) % 3 for answer in (lesson.better, lesson.worse))
        assert f"asked {better}" == lesson.prompt
        assert better != worse


def test_single_steps_have_a_table_of_their_own():
    found = [result(arm, 0, "0011" * 20 if arm == AS_IT_IS else "0111" * 20, kept=[10], agreement=[0.8]) for arm in STEPS]
    text = "\n".join(tables([*found, result("calibrated", 0, "0011" * 20)]))
    assert "| nothing: the rule's own choice | 1 | 0.500 | 0.500 | 10 | 0.800 |  |  |" in text
    assert "as the target | 1 | 0.750 | 0.500 | 10 | 0.800 | +25.0 (" in text


def test_processor_time_is_that_of_whole_runs():
    found = [result("calibrated", seed, "01", processor_seconds=seconds) for seed, seconds in enumerate((60.0, 1200.0, 1260.0))]
    assert "with the three controls of calibrated: calibrated 20, paper 2." in "\n".join(
        tables([*found, result("paper", 0, "01", processor_seconds=120.0), result("seed", 0, "01", processor_seconds=9.0)])
    )


def test_what_calibrated_is_ahead_of_is_told_set_by_set():
    found = [result(arm, 0, right * 20) for arm, right in (("calibrated", "0111"), ("seed", "0011"), ("paper", "0001"))]
    text = "\n".join(tables([*found, *(replace(one, data_set="ukp") for one in found if one.arm != "paper")]))
    assert "| | docs-700, 15% | ukp, 15% |" in text
    assert "| calibrated minus paper | +50.0 (" in text
    assert text.split("| calibrated minus paper | ")[1].splitlines()[0].endswith("), 1 split |  |")


def test_a_group_that_several_splits_hold_out_counts_once():
    def interval(seeds):
        found = [result(arm, seed, right * 10) for arm, right in (("calibrated", "0111"), ("seed", "0011")) for seed in seeds]
        return next(line for line in tables(found) if line.startswith("| seed |")).split("|")[-3]

    assert interval([0, 1, 2]) == interval([0])


def test_the_splits_have_an_interval_of_their_own_which_knows_what_trainings_do():
    ours = [result("calibrated", n, "1" * good + "0" * (10 - good)) for n, good in enumerate((8, 9, 7))]
    theirs = [result("seed", n, "0" * 5 + "1" * 5) for n in range(3)]
    found = against([*ours, *theirs], "calibrated", "seed")
    assert found is not None
    assert found.by_splits() == "+5.2 to +54.8"  # 0.3 ± 4.303 · 0.1 / √3
    fewer = against([*ours[:2], *theirs], "calibrated", "seed")
    assert fewer is not None and fewer.by_splits() == ""


def test_an_interval_of_few_groups_says_of_how_many():
    found = against([result("calibrated", 0, "111"), result("seed", 0, "011")], "calibrated", "seed")
    assert found is not None and found.by_groups().endswith(", 3 groups)")


def test_splits_that_every_arm_lacks_are_named_once():
    found = [result(arm, 0, "01") for arm in ORDER]
    assert "Missing: split 1, 2, 3, 4 of every arm." in "\n".join(tables(found))


@pytest.mark.parametrize("results", [[], [result("seed", 0, "01")]])
def test_there_may_be_few_results_yet(results):
    assert isinstance("\n".join(tables(results)), str)


def test_the_document_holds_the_tables_of_the_committed_results():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(document, read_results()) == document
