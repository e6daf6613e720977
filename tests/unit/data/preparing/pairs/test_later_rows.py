"""What the rows behind the first hundred have that those have not."""

import pytest

from ser_core.api.spec.policy import PromptsSpec
from ser_core.data.preparing.prompts import read_prompts
from ser_core.errors import DataError


def hh(row):
    return {side: f"\n\nHuman: {row['prompt']}\n\nAssistant: {row[side]}" for side in ("chosen", "rejected")}


def unlabelled(row):
    return {"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"]}


@pytest.fixture
def prompts(write, access, tmp_path):
    def read(rows):
        spec = PromptsSpec(uri=f"file://{write(rows, 'prompts.jsonl')}")
        return read_prompts(spec, access, tmp_path / "p", (), 0.1, lambda: None).texts

    return read


def test_rows_of_another_form_are_refused_and_can_be_read_as_a_file_of_their_own(refusal, prepare, write, good):
    first, later = [hh(row) for row in good(120)], good(160)[120:]
    error = refusal([*first, *later])
    assert error.message == (
        "data.jsonl, line 121: with 'prompt' it is a row of preference pairs with explicit prompt; "
        "the rows before are preference pairs with implicit prompt"
    )
    assert (error.reason, error.hint.startswith("write a file for each form")) == ("UnknownColumns", True)
    write(first, "forms/train-1.jsonl")
    assert prepare(write(later, "forms/train-2.jsonl").parent).metrics.dropped == {}


def test_labels_that_come_late_are_not_left_out_and_one_among_the_first_rows_helps(prepare_three, good):
    rows = good(300)
    pool = [*map(unlabelled, rows[40:240]), *({**unlabelled(row), "better": 1 + n % 2} for n, row in enumerate(rows[240:260]))]
    with pytest.raises(DataError, match="line 201: with 'better' it is a row of labelled pairs of answers"):
        prepare_three(rows[:40], pool, rows[260:])
    assert prepare_three(rows[:40], pool[::-1], rows[260:]).metrics.hidden_labels


def test_a_column_of_another_form_that_holds_nothing_is_no_reason_before_it_holds_something(refusal, prepare, good):
    rows = [*map(hh, good(120)), *({**hh(row), "prompt": None} for row in good(160)[120:])]
    assert prepare(rows).metrics.rows == 160
    assert "line 161: with 'prompt'" in refusal([*rows, *good(180)[160:]]).message


@pytest.mark.parametrize("before", [{}, {"context": ""}, {"context": None}])
def test_a_part_of_the_question_that_comes_late_stops_the_run(refusal, prompts, good, before):
    rows = [*({**row, **before} for row in good(120)), *({**row, "context": "It is noon."} for row in good(160)[120:])]
    error = refusal(rows)
    assert (error.reason, "line 121: the column 'context' is not used" in error.message) == ("UnusedColumn", True)
    with pytest.raises(DataError, match="line 121: the column 'context' is not used"):
        prompts([{name: row[name] for name in ("prompt", "context") if name in row} for row in rows])


def test_prompts_beside_answers_that_come_late_are_not_taken_for_the_beginning_of_answers(prompts, good):
    with pytest.raises(DataError, match="line 121: with 'prompt' it is a row of preference pairs with explicit prompt"):
        prompts([*map(hh, good(120)), *good(160)[120:]])


def test_columns_that_are_used_where_they_are_there_may_come_late(prepare, prompts, good):
    rows = [*good(120), *({**row, "system": "Be brief.", "source": "late", "id": row["prompt"]} for row in good(160)[120:])]
    assert prepare(rows).metrics.dropped == {}
    assert prompts([{"prompt": row["prompt"], **({"system": "Be brief."} if "id" in row else {})} for row in rows])[-1].startswith(
        "System:"
    )
