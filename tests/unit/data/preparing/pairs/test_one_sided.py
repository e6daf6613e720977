"""Labels that are all the same are refused, and who follows the hint gets right labels."""

import pytest
import yaml

from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.errors import DataError


def answers(rows, better):
    return [{"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"], "better": better} for row in rows]


def named(hint):
    return yaml.safe_load(hint.split("data.source.columns: ")[1])


def better_ones(prepared, count):
    return {pair.answer_1 if pair.better == 1 else pair.answer_2 for pair in read_spool(prepared.spool, range(count)) if pair.better}


@pytest.mark.parametrize(("better", "hint"), [(1, "chosen: answer_1, rejected: answer_2"), (2, "chosen: answer_2, rejected: answer_1")])
def test_the_hint_for_labels_of_one_side_gives_the_right_pairs(refusal, prepare, good, better, hint):
    rows = answers(good(40), better)
    error = refusal(rows)
    assert (error.reason, hint in error.hint) == ("OneSidedLabels", True)
    assert better_ones(prepare(rows, columns=named(error.hint)), 40) == {row[f"answer_{better}"] for row in rows}


def test_the_hint_for_labels_of_one_side_names_the_files_own_columns(refusal, prepare, good):
    rows = [{"q": row["prompt"], "a": row["chosen"], "b": row["rejected"], "which": 1} for row in good(40)]
    error = refusal(rows, columns={"prompt": "q", "response_1": "a", "response_2": "b", "better": "which"})
    assert "columns: {prompt: q, chosen: a, rejected: b}" in error.hint


def test_the_hint_keeps_system_and_quotes_odd_names(refusal, good):
    rows = [{"q: 1": row["prompt"], "a": row["chosen"], "b": row["rejected"], "which": 2, "rules": "Be brief."} for row in good(40)]
    columns = {"prompt": "q: 1", "system": "rules", "response_1": "a", "response_2": "b", "better": "which"}
    wanted = {"prompt": "q: 1", "system": "rules", "chosen": "b", "rejected": "a"}
    assert named(refusal(rows, columns=columns).hint) == wanted


def test_ties_do_not_become_labels(refusal, prepare, good):
    rows = [row | ({"better": "tie"} if n % 4 == 0 else {}) for n, row in enumerate(answers(good(80), 1))]
    error = refusal(rows)
    assert "remove the 20 rows whose better is not 1" in error.hint
    rows = [row for row in rows if row["better"] != "tie"]
    assert better_ones(prepare(rows, columns=named(error.hint)), 60) == {row["answer_1"] for row in rows}


@pytest.mark.parametrize(("part", "label"), [("unlabeled", "tie"), ("unlabeled", ""), ("heldout", "tie")])
def test_rows_without_a_winner_are_told_in_every_part(prepare_three, good, part, label):
    odd = [row | ({"better": label} if n % 4 == 0 else {}) for n, row in enumerate(answers(good(80), 1))]
    parts = {"seed": good(200)[80:120], "unlabeled": good(200)[120:160], "heldout": good(200)[160:]} | {part: odd}
    with pytest.raises(DataError) as error:
        prepare_three(*parts.values())
    assert f"data.{part}.columns" in error.value.hint
    assert "remove the 20 rows" in error.value.hint


def test_scores_in_the_rows_are_offered_as_labels(refusal, prepare, good):
    rows = [row | {"score_1": 2 * (n % 2), "score_2": 1} for n, row in enumerate(answers(good(40), 1))]
    error = refusal(rows)
    assert "if the scores say which answer is better" in error.hint
    right = {row["answer_1" if row["score_1"] else "answer_2"] for row in rows}
    assert better_ones(prepare(rows, columns=named(error.hint)), 40) == right


def test_of_a_public_sets_columns_none_is_named_that_is_not_there(refusal, good):
    rows = [{"history": row["prompt"], "human_ref_A": row["chosen"], "human_ref_B": row["rejected"], "labels": 1} for row in good(40)]
    error = refusal(rows)
    assert "the first answer is the better one in all 40" in error.message
    assert "answer_1" not in error.hint
