"""What the rows behind the first hundred have that those have not."""

import pytest

from ser_core.api.spec.policy import PromptsSpec
from ser_core.data.preparing.prompts import read_prompts
from ser_core.data.reading.layouts.writing import columns_line
from ser_core.errors import DataError


def hh(row):
    return {side: f"\n\nHuman: {row['prompt']}\n\nAssistant: {row[side]}" for side in ("chosen", "rejected")}


def labelled(row):
    return {**unlabelled(row), "better": 1 + len(row["chosen"]) % 2}


def unlabelled(row):
    return {"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"]}


@pytest.fixture
def prompts(write, access, tmp_path):
    def read(rows):
        spec = PromptsSpec(uri=f"file://{write(rows, 'prompts.jsonl')}")
        return read_prompts(spec, access, tmp_path / "p", (), 0.1, lambda: None, turns=False).texts

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


def test_labels_of_the_pool_are_read_wherever_they_begin(prepare_three, good):
    rows = good(300)
    pool = [*map(unlabelled, rows[40:240]), *({**unlabelled(row), "better": 1 + n % 2} for n, row in enumerate(rows[240:260]))]
    late, early = (prepare_three(rows[:40], each, rows[260:]).metrics for each in (pool, pool[::-1]))
    assert late.model_copy(update={"found": "", "warnings": ()}) == early.model_copy(update={"found": "", "warnings": ()})
    assert late.hidden_labels
    pool[150]["source"] = "elsewhere"
    assert prepare_three(rows[:40], pool, rows[260:]).metrics.pool == late.pool
    with pytest.raises(DataError, match="better is 1 in all 100 labelled rows"):
        prepare_three(rows[:40], [*pool[:100], *({**row, "better": 1} for row in pool[100:200])], rows[260:])
    with pytest.raises(DataError) as caught:
        prepare_three(rows[:40], [{**row, "context": "It is noon."} for row in pool[:200]], rows[260:])
    assert "{prompt: prompt, response_1: answer_1, response_2: answer_2}" in caught.value.hint
    with pytest.raises(DataError, match="explicit prompt; the rows before are unlabelled pairs of answers"):
        prepare_three(rows[:40], [*pool[:200], *rows[240:260]], rows[260:])


@pytest.mark.parametrize(
    ("first", "later", "columns"),
    [
        (hh, {"prompt": "question"}, {"chosen": "chosen", "rejected": "rejected"}),
        (hh, {"question": "question"}, {"chosen": "chosen", "rejected": "rejected"}),
        (labelled, {"answers": ["x"]}, {"prompt": "prompt", "response_1": "answer_1", "response_2": "answer_2", "better": "better"}),
    ],
)
def test_a_column_of_another_form_that_says_nothing_can_be_left_out(refusal, prepare, good, first, later, columns):
    rows = [*map(first, good(120)), *({**first(row), **later} for row in good(160)[120:])]
    hint = refusal(rows).hint
    assert columns_line("data.source", columns) in hint
    assert "put a row with all its columns first" not in hint
    assert prepare(rows, columns=columns).metrics.rows == 160


def test_a_row_with_all_columns_comes_first_where_the_others_can_be_read_so(refusal, prepare, good):
    rows = [{"input": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in good(160)]
    rows[120]["instruction"] = "Answer."
    assert "put a row with all its columns first" in refusal(rows).hint
    assert prepare(rows[::-1][39:] + rows[121:]).metrics.dropped == {}


@pytest.mark.parametrize("system_from", [0, 110])
def test_the_line_for_an_unused_column_keeps_the_system_messages(refusal, prepare, good, system_from):
    rows = [row if n < system_from else {**row, "system": "Be brief."} for n, row in enumerate(good(160))]
    rows[150] = {**good(151)[150], "context": "It is noon."}
    assert "columns: {prompt: prompt, system: system, chosen: chosen, rejected: rejected}" in refusal(rows).hint
    assert ("put a row with 'system' first" in refusal(rows).hint) == (system_from > 0)
    columns = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "system": "system"}
    assert prepare(rows[system_from:], columns=columns).metrics.dropped == {}


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
