"""The numbers of a sweep against plain arithmetic, and what chance makes of them."""

import io
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from rich.console import Console

from ser_core.cli.views.sweep_view import as_data, sweep_view
from ser_core.report.sweep_page import render
from ser_core.sweep.comparison import compare_arms
from ser_core.sweep.results import RunResult
from ser_core.sweep.words import note


def result(arm, seed, right, groups=None):
    pairs = {f"p{number}": bool(one) for number, one in enumerate(right)}
    return RunResult(f"{arm}-{seed}", arm, seed, pairs, 0.5, groups or {})


def draws(share, number=300, seed=0):
    return np.random.default_rng(seed).random(number) < share


def test_means_and_differences_are_those_of_the_runs():
    runs = [result("a", 0, [1, 0, 0, 0]), result("a", 1, [1, 1, 0, 0]), result("b", 0, [1, 1, 0, 0]), result("b", 1, [1, 1, 1, 0])]
    a, b = compare_arms(runs, "a")
    assert (a.accuracy, b.accuracy, a.runs, a.difference) == (0.375, 0.625, 2, None)
    assert a.deviation == pytest.approx(0.1768, abs=1e-4)
    assert (b.difference.mean, b.difference.repetitions, b.difference.groups) == (0.25, 2, 4)


def test_only_repetitions_that_both_have_are_compared():
    runs = [result("a", 0, [0, 0]), result("a", 1, [1, 1]), result("b", 1, [1, 0]), result("b", 2, [0, 0]), result("c", 5, [1, 1])]
    _, b, c = compare_arms(runs, "a")
    assert (b.difference.mean, b.difference.repetitions) == (-0.5, 1)
    assert c.difference is None
    assert "not compared: c, since no repetition is in common with the baseline; ser why tells why" in note((b, c), "a", ())


def test_an_arm_on_other_held_out_pairs_is_not_compared_and_it_is_said_why():
    pairs = [f"p{number}" for number in range(210)]
    base, few, none = (
        replace(result(arm, 0, []), right=dict.fromkeys(pairs[at : at + 105], True)) for arm, at in (("a", 0), ("b", 100), ("c", 105))
    )
    rows = compare_arms([base, few, none], "a")
    assert [row.difference for row in rows] == [None] * 3
    shares = "these are accuracies of different data: the runs share {} of 105 and 105 held-out pairs; to compare them, give all arms one"
    assert [row.why_apart.partition(" data.heldout")[0] for row in rows] == ["", shares.format(5), shares.format(0)]
    assert f"Not compared: b, since {shares.format(5)}" in render("hh", rows, "a", [])
    assert as_data(rows, "a", ())["arms"][1]["notCompared"] == rows[1].why_apart


def test_an_arm_whose_labels_are_turned_is_not_compared():
    base, turned = (
        replace(result(arm, 0, [1, 0]), answers={"p0": first, "p1": ("x", "y")}) for arm, first in (("a", ("x", "y")), ("b", ("y", "x")))
    )
    rows = compare_arms([base, turned], "a")
    assert rows[1].difference is None
    told = "not compared: b, since these are accuracies by different labels: 1 of 2 held-out pairs are labelled the other way round; to"
    assert told in note(rows, "a", ())


def test_what_one_of_two_arms_holds_together_is_one_group_whichever_is_the_baseline():
    prompts, topics = ({f"p{number}": f"{size}-{number // size}" for number in range(200)} for size in (2, 50))
    runs = [result("a", 0, draws(0.5, 200), prompts), result("b", 0, draws(0.7, 200, 1), topics)]
    for baseline, row in (("a", 1), ("b", 0)):
        found = compare_arms(runs, baseline)[row].difference
        assert (found.groups, found.p_value) == (4, pytest.approx(0.125))


def test_an_arm_whose_runs_all_trusted_nothing_is_named():
    others = [replace(result(arm, seed, [1, 0]), trusted=(arm, seed) == ("b", 1)) for arm in "bc" for seed in (0, 1)]
    runs = [result("a", 0, [1, 0]), *others]
    rows = compare_arms(runs, "a")
    assert "no run trusted any self-label, so these are seed models: c" in note(rows, "a", ()).split("\n")
    assert [arm["trusted"] for arm in as_data(rows, "a", ())["arms"]] == [True, True, False]


def test_an_arm_with_models_that_do_not_hold_is_named():
    runs = [result("a", 0, [1, 0]), *(replace(result("b", seed, [1, 0]), collapsed=seed == 0) for seed in (0, 1))]
    rows = compare_arms(runs, "a")
    assert "best reward models that do not hold, since each of their trainings collapsed: 1 of 2 of b" in note(rows, "a", ()).split("\n")
    assert [arm["collapsed"] for arm in as_data(rows, "a", ())["arms"]] == [0, 1]


def test_what_self_labels_have_added_is_told_beside_the_arms():
    runs = [
        replace(result(arm, seed, [1, 1, 1, 0] * 30), seed_right={f"p{number}": number % 4 == 0 for number in range(120)})
        for arm in "ab"
        for seed in (0, 1)
    ]
    runs[3] = replace(runs[3], seed_right=runs[3].right)
    a, b = rows = compare_arms(runs, "a")
    assert (a.seed_accuracy, a.over_seed.mean, a.over_seed.groups) == (0.25, 0.5, 120)
    assert (b.seed_accuracy, b.over_seed.mean) == (0.5, 0.25)
    assert a.over_seed.low <= 0.5 <= a.over_seed.high and a.over_seed.significant
    assert as_data(rows, "a", ())["arms"][1]["seed"]["difference"] == 0.25
    console = Console(file=io.StringIO(), width=80)
    console.print(sweep_view(rows, "a", []))
    assert "  1   0.250        +0.500   +" in console.file.getvalue()
    assert "− seed: pair by pair, best reward models minus seed models of the same runs" in note(rows, "a", ())
    assert '<td class="wrap">a</td><td>25 %</td><td>+50.0</td>' in render("hh", rows, "a", [])


def test_where_a_seed_model_is_not_known_nothing_is_said_of_it():
    known = replace(result("a", 0, [1, 0]), seed_right={"p0": True, "p1": True})
    rows = compare_arms([known, result("a", 1, [1, 0])], "a")
    assert (rows[0].seed_accuracy, rows[0].over_seed) == (None, None)
    assert "seed" not in note(rows, "a", ()) + render("hh", rows, "a", [])


def test_chance_is_that_of_groups_and_not_of_pairs():
    base, better = draws(0.5), draws(0.56, seed=1)
    alone = compare_arms([result("a", 0, base), result("b", 0, better)], "a")[1].difference
    blocks = np.repeat(draws(0.5, 10, seed=3), 30)
    together = {f"p{number}": f"g{number // 30}" for number in range(300)}
    grouped = compare_arms([result("a", 0, ~blocks, groups=together), result("b", 0, blocks, groups=together)], "a")[1].difference
    as_pairs = compare_arms([result("a", 0, ~blocks), result("b", 0, blocks)], "a")[1].difference
    assert alone.low < alone.mean < alone.high
    assert grouped.high - grouped.low > 3 * (as_pairs.high - as_pairs.low)


def test_an_interval_of_few_groups_is_not_to_be_trusted():
    told = "an interval that rests on fewer than 10 groups is not to be trusted"
    for groups in (9, 10):
        together = {f"p{number}": f"g{number % groups}" for number in range(300)}
        runs = [result(arm, 0, draws(0.5, seed=seed), groups=together) for arm, seed in (("a", 0), ("b", 1))]
        assert (told in note(compare_arms(runs, "a"), "a", ()).split("\n")) == (groups == 9)
        alone = [replace(runs[0], seed_right=runs[1].right)]
        assert (told in note(compare_arms(alone, "a"), "a", ()).split("\n")) == (groups == 9)


def test_equal_arms_are_rarely_told_apart_and_better_ones_are():
    equal = [
        compare_arms([result("a", 0, draws(0.6, seed=seed)), result("b", 0, draws(0.6, seed=seed + 1000))], "a")[1].difference.p_value
        < 0.05
        for seed in range(30)
    ]
    assert fmean(equal) < 0.2
    better = compare_arms([result("a", 0, draws(0.5)), result("b", 0, draws(0.8, seed=1))], "a")[1].difference
    assert better.low > 0 and better.p_value < 0.01


def test_p_counts_groups_and_is_that_of_mcnemar_where_each_is_a_pair():
    base, other = result("a", 0, [0] * 20), result("b", 0, [1] * 5 + [0] * 15)
    assert compare_arms([base, other], "a")[1].difference.p_value == pytest.approx(0.0625)
    grouped = result("b", 0, [1] * 5 + [0] * 15, groups={f"p{number}": "one" for number in range(5)})
    assert compare_arms([base, grouped], "a")[1].difference.p_value == 1.0


def test_holm_multiplies_by_the_comparisons_that_are_left_and_never_falls():
    arms = [result("a", 0, draws(0.5))] + [result(name, 0, draws(share, seed=2)) for name, share in (("b", 0.75), ("c", 0.6), ("d", 0.52))]
    found = sorted((row.difference for row in compare_arms(arms, "a")[1:]), key=lambda one: one.p_value)
    assert [one.p_holm for one in found] == sorted(one.p_holm for one in found)
    assert found[0].p_holm == pytest.approx(min(1.0, 3 * found[0].p_value))


def test_without_a_finished_run_of_the_baseline_the_arms_stand_alone():
    assert compare_arms([], "z") == ()
    rows = compare_arms([result("a", 0, [1]), result("b", 0, [0])], "z")
    assert [(row.accuracy, row.difference) for row in rows] == [(1.0, None), (0.0, None)]
    assert "not compared: a; b, since the baseline has no finished run yet; ser why tells why" in note(rows, "z", ())
    assert "; baseline: z\n" in note(rows[:1], "z", ())


def test_the_page_holds_the_table_and_no_markup_of_a_name():
    rows = compare_arms([result("<b>", 0, draws(0.5)), result("c", 0, draws(0.8, seed=1))], "<b>")
    page = render("hh", rows, "<b>", ["hh-x"])
    assert page.count('<td class="wrap">&lt;b&gt;</td>') == 1 and "<b>" not in page, "a long name would hide the columns beside it"
    assert "Missing: hh-x." in page


def test_a_page_calls_no_p_value_0():
    rows = compare_arms([result("a", 0, [0] * 40), result("b", 0, [1] * 40)], "a")
    assert rows[1].difference.p_value < 0.001
    page = render("hh", rows, "a", [])
    assert page.count("<td>&lt;0.001</td>") == 2 and "0.0000" not in page


def test_one_arm_has_no_baseline():
    rows = compare_arms([result("as in the file", 0, draws(0.5))], "as in the file")
    page = render("hh", rows, "as in the file", [])
    assert ">1 arm.<" in page and "baseline" not in page
    console = Console(file=io.StringIO(), width=80)
    console.print(sweep_view(rows, "as in the file", []))
    assert "base" not in console.file.getvalue()
