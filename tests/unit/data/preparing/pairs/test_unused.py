"""What is not used is told, and the same pair in two forms is the same pair."""

import json

import pytest

from ser_core.api.spec.policy import PromptsSpec
from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.prompts import read_prompts


def without_prompt(rows):
    return [{"chosen": f"It is so: {row['chosen']}", "rejected": f"It is so: {row['rejected']}", "query": row["prompt"]} for row in rows]


def test_a_column_that_looks_like_the_question_stops_the_run_and_the_hint_helps(refusal, prepare, good):
    rows = without_prompt(good(40))
    error = refusal(rows)
    assert (error.reason, "the column 'query' is not used" in error.message) == ("UnusedColumn", True)
    assert "data.source.columns: {prompt: query, chosen: chosen, rejected: rejected}" in error.hint
    assert prepare(rows, columns={"prompt": "query", "chosen": "chosen", "rejected": "rejected"}).metrics.rows == 40


@pytest.mark.parametrize(
    "answer", [lambda text: {"role": "assistant", "content": text}, lambda text: [{"role": "assistant", "content": text}]]
)
def test_a_dialogue_beside_answers_without_a_prompt_stops_the_run_and_the_hint_helps(refusal, prepare, good, answer):
    rows = [
        {"messages": [{"role": "user", "content": row["prompt"]}], "chosen": answer(row["chosen"]), "rejected": answer(row["rejected"])}
        for row in good(40)
    ]
    error = refusal(rows)
    assert (error.reason, "the column 'messages' is not used" in error.message) == ("UnusedColumn", True)
    columns = {"prompt": "messages", "chosen": "chosen", "rejected": "rejected"}
    assert "data.source.columns: {prompt: messages, chosen: chosen, rejected: rejected}" in error.hint
    assert prepare(rows, columns=columns).metrics.dropped == {}


def test_a_dialogue_that_the_answers_repeat_is_no_reason(prepare, good):
    def whole(row, side):
        return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}]

    rows = [{"messages": whole(row, "chosen"), "chosen": whole(row, "chosen"), "rejected": whole(row, "rejected")} for row in good(40)]
    assert prepare(rows).metrics.dropped == {}


@pytest.mark.parametrize("bad", [20, 150])
@pytest.mark.parametrize("rejected", [None, "\n\nHuman: something else\n\nAssistant: no"])
def test_one_bad_row_is_no_file_whose_answers_hold_no_prompt(prepare, good, bad, rejected):
    rows = [
        hh(row, False) | ({} if n % 10 else {"messages": [{"role": "user", "content": row["prompt"]}]}) for n, row in enumerate(good(200))
    ]
    rows[bad]["rejected"] = rejected
    assert sum(prepare(rows).metrics.dropped.values()) == 1


@pytest.mark.parametrize("name", ["Question", "problem", "title", "Text"])
def test_where_the_prompt_is_guessed_more_names_stop_the_run(refusal, good, name):
    rows = [{name: row["query"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in without_prompt(good(40))]
    assert f"data.source.columns: {{prompt: {name}, chosen: chosen, rejected: rejected}}" in refusal(rows).hint


def test_a_word_or_a_column_beside_a_prompt_is_no_question(prepare, good):
    assert prepare([{**row, "title": "Many words about it", "task": "helpful"} for row in good(40)]).metrics.dropped == {}
    rows = [{"chosen": f"{row['prompt']} {row['chosen']}", "rejected": f"{row['prompt']} {row['rejected']}"} for row in good(40)]
    assert prepare([{**row, "task": "helpful"} for row in rows]).metrics.dropped == {}


def test_answers_without_a_common_beginning_are_told_to_name_the_prompts(refusal, good):
    error = refusal([{"chosen": row["chosen"], "rejected": row["rejected"], "subject": row["prompt"]} for row in good(40)])
    assert (error.reason, "data.source.columns, as prompt" in error.hint) == ("PromptMismatch", True)


@pytest.mark.parametrize("text", ["", None, "  "])
def test_an_empty_column_is_no_reason(prepare, good, text):
    assert prepare([{**row, "context": text} for row in good(40)]).metrics.rows == 40


def test_a_column_that_stands_in_the_prompt_is_no_reason(prepare, good):
    assert prepare([{**row, "question": row["prompt"].upper()} for row in good(40)]).metrics.rows == 40


def test_what_columns_leaves_out_is_left_out_by_intent(refusal, prepare, good):
    rows = [{**row, "context": "It is noon."} for row in good(40)]
    assert "columns: {prompt: prompt, chosen: chosen, rejected: rejected}" in refusal(rows).hint
    assert prepare(rows, columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}).metrics.rows == 40


def hh(row, explicit):
    prompt = f"\n\nHuman: {row['prompt']}\n\nAssistant:"
    if explicit:
        return {"prompt": prompt, "chosen": f" {row['chosen']}", "rejected": f" {row['rejected']}"}
    return {"chosen": f"{prompt} {row['chosen']}", "rejected": f"{prompt} {row['rejected']}"}


def test_the_same_pair_in_implicit_and_explicit_form_is_one(prepare, write, good):
    write([hh(row, True) for row in good(40)], "both/train-1.jsonl")
    folder = write([hh(row, False) for row in good(40)], "both/train-2.jsonl").parent
    assert prepare(folder).metrics.dropped == {"Duplicate": 40}


@pytest.mark.parametrize("written", ["\n\nHuman: {}\n\nAssistant:", "Human: {}\n\nAssistant: ", "{}"])
def test_a_heldout_prompt_is_no_prompt_of_the_policy_however_it_is_written(access, write, tmp_path, written):
    path = write([{"prompt": written.format(f"question {number}")} for number in range(4)], "prompts.jsonl")
    found = read_prompts(
        PromptsSpec(uri=f"file://{path}"), access, tmp_path / "p", ["question 1", "question 2"], 0.1, lambda: None, turns=False
    )
    assert found.texts == ("question 0", "question 3")


def test_a_system_message_between_turns_is_no_warning(prepare):
    def row(number, answer):
        turns = [("user", f"q {number}"), ("assistant", "ok"), ("system", "It is noon."), ("user", "go on"), ("assistant", answer)]
        return [{"role": role, "content": text} for role, text in turns]

    warnings = prepare([{"chosen": row(n, "right"), "rejected": row(n, "wrong")} for n in range(40)]).metrics.warnings
    assert not any("role markers" in warning for warning in warnings)


def test_ties_leave_the_held_out_part_and_are_told_of_where_they_are_learnt(prepare, good):
    rows = [
        {"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"], "better": 1 + n % 2}
        for n, row in enumerate(good(100))
    ]
    for row in rows[:30]:
        row["better"] = "tie"
    prepared = prepare(rows)
    dropped = prepared.metrics.dropped.get("Tie", 0)
    learnt = len(prepared.ties["seed"]) + len(prepared.ties["dev"])
    assert dropped == len(prepared.ties["heldout"])
    assert prepared.metrics.seed + prepared.metrics.dev + prepared.metrics.heldout + prepared.metrics.pool + learnt + dropped == 100
    assert any(f"{learnt} ties of seed and dev, learnt" in told for told in prepared.metrics.warnings)


def test_a_tie_of_the_pool_is_a_pair_without_a_label(prepare_three, good):
    rows = good(90)
    pool = [{"prompt": row["prompt"], "answer_1": row["chosen"], "answer_2": row["rejected"], "better": "tie"} for row in rows[30:60]]
    prepared = prepare_three(rows[:30], pool, rows[60:])
    assert (prepared.metrics.pool, prepared.metrics.hidden_labels) == (30, False)


@pytest.mark.parametrize("scores", [(2.0, 7.5), ("2.0", "7.5")])
@pytest.mark.parametrize(
    "names", [("score_chosen", "score_rejected"), ("chosen-rating", "rejected-rating"), ("chosen_reward", "rejected_reward")]
)
def test_scores_that_contradict_the_columns_are_told(prepare, good, scores, names):
    rows = [{**row, **dict(zip(names, scores, strict=True))} for row in good(40)]
    warnings = prepare(rows).metrics.warnings
    assert any("the rejected answer has the higher score in 40 of 40 rows" in warning for warning in warnings)


def test_of_two_scores_the_first_may_always_be_higher(prepare, good):
    rows = [{"q": row["prompt"], "a": row["chosen"], "b": row["rejected"], "x": "4.5", "y": " 1 "} for row in good(40)]
    columns = {"prompt": "q", "response_1": "a", "response_2": "b", "score_1": "x", "score_2": "y", "weight": "scores"}
    assert prepare(rows, columns=columns).metrics.dropped == {}


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_an_answer_that_is_nearly_always_the_same_is_told(prepare, good, side):
    warnings = prepare([{**row, side: "I cannot help."} if number % 4 else row for number, row in enumerate(good(40))]).metrics.warnings
    assert any(f"the {side} answer is the same text in 30 of 40 pairs" in told for told in warnings)
    assert not any("same text" in told for told in prepare(good(40)).metrics.warnings)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lambda rows: {"data": rows}, "whose rows stand in 'data'"),
        (lambda rows: {name: [row[name] for row in rows] for name in rows[0]}, "whose values are columns"),
        (lambda rows: {str(number): row for number, row in enumerate(rows)}, "whose values are rows or columns"),
    ],
)
def test_a_file_that_is_one_object_is_told_what_to_write(refusal, good, content, told):
    error = refusal(json.dumps(content(good(40))).encode(), "pairs.json")
    assert (error.reason, told in error.message, "lines=True" in error.hint) == ("UnknownFormat", True, True)


def test_a_file_of_a_folder_that_is_no_data_can_be_left_out(refusal, prepare, write, good):
    write(good(40), "some/pairs.jsonl")
    folder = write(b'{"a": 1}', "some/config.json").parent
    assert "data.source.path names the file" in refusal(folder).hint
    assert prepare(folder, path="pairs.jsonl").metrics.rows == 40


@pytest.mark.parametrize("name", [float("nan"), "", None])
def test_an_id_that_is_empty_is_none(prepare, good, name):
    assert prepare([{**row, "id": name} for row in good(40)]).metrics.dropped == {}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("history", [["Is it noon?", "Yes."]], "Is it noon?"),
        ("context", ["It is noon.", "It rains."], "It is noon."),
        ("passage", "It is noon.", "It is noon."),
        ("document", {"title": "Noon", "body": "It is noon."}, "Noon"),
        ("messages", [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it?"}], "Be brief."),
        ("messages", '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it?"}]', "Be brief."),
        ("trajectory", [{"from": "human", "value": "Is it noon?"}], "Is it noon?"),
        ("messages", [{"role": "user", "content": "Is it noon?", "images": ["noon.png"]}], "Is it noon?"),
        ("messages", [{"role": "tool", "content": "It is noon."}, {"role": "user", "content": [{"text": "Is it?"}]}], "It is noon."),
        ("chat_history", [{"role": "user", "content": "Is it noon?"}, {"role": "assistant", "content": "Yes."}], "Is it noon?"),
        ("history", '[{"role": "user", "content": "Is it noon?"}, {"role": "assistant", "content": "Yes."}]', "Is it noon?"),
        ("tools", [{"name": "clock"}], "no tools, no pictures"),
        ("images", ["noon.png"], "no tools, no pictures"),
        ("Image", {"bytes": None, "path": "noon.png"}, "no tools, no pictures"),
        ("video", "noon.mp4", "no tools, no pictures"),
        ("chat_template_kwargs", {"enable_thinking": False}, "no tools, no pictures"),
    ],
)
def test_what_belongs_to_the_question_stops_the_run_whatever_its_form(refusal, prepare, good, column, value, said):
    error = refusal([{**row, column: value} for row in good(40)])
    assert (error.reason, f"the column {column!r} is not used" in error.message, said in error.message) == ("UnusedColumn", True, True)
    assert "data.source.columns: {prompt: prompt, chosen: chosen, rejected: rejected}, which leaves it out" in error.hint
    rows = [{**row, column: value} for row in good(40)]
    assert prepare(rows, columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"}).metrics.rows == 40


@pytest.mark.parametrize("value", [[], None, {}, [[]], [""], {"path": None, "names": [None]}, "[]"])
@pytest.mark.parametrize("column", ["history", "tools", "messages", "image"])
def test_what_holds_nothing_is_no_reason(prepare, good, column, value):
    assert prepare([{**row, column: value} for row in good(40)]).metrics.rows == 40


def test_a_dialogue_that_leads_to_the_prompt_can_be_named_in_its_place(refusal, prepare, good):
    said = [{"role": "user", "content": "Is it noon?"}, {"role": "assistant", "content": "Yes."}]
    rows = [{**row, "messages": [*said, {"role": "user", "content": row["prompt"]}]} for row in good(40)]
    columns = {"prompt": "messages", "chosen": "chosen", "rejected": "rejected"}
    assert "data.source.columns: {prompt: messages, chosen: chosen, rejected: rejected}, or " in refusal(rows).hint
    assert prepare(rows, columns=columns).metrics.dropped == {}


@pytest.mark.parametrize(
    ("column", "least", "key"),
    [("margin", 0.5, "margin"), ("margin", 0, "margin"), ("weight", 0.5, "weight"), ("strength", 0.5, "weight"), ("strength", 0, "margin")],
)
def test_a_strength_that_nobody_named_is_told_and_the_line_helps(prepare, good, column, least, key):
    rows = [{**row, column: least + number % 3} for number, row in enumerate(good(40))]
    line = f"data.source.columns: {{prompt: prompt, chosen: chosen, rejected: rejected, {key}: {column}}}"
    assert [one for one in prepare(rows).metrics.warnings if line in one]
    named = prepare(rows, columns={"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", key: column})
    assert not [one for one in named.metrics.warnings if "not used" in one]
    assert named.metrics.dropped == {}


def test_a_strength_that_can_be_neither_margin_nor_weight_is_told_without_that_line(prepare, good):
    warnings = prepare([{**row, "margin": number % 3 - 1} for number, row in enumerate(good(40))]).metrics.warnings
    (told,) = (one for one in warnings if "'margin'" in one)
    assert ("above zero" in told, "write" in told) == (True, False)


def test_a_strength_in_words_is_nothing_to_tell(prepare, good):
    assert not [one for one in prepare([{**row, "strength": "strong"} for row in good(40)]).metrics.warnings if "not used" in one]


def test_answers_that_begin_with_their_prompt_are_told(prepare, good):
    rows = [{**row, "chosen": f"{row['prompt']} {row['chosen']}", "rejected": f"{row['prompt']} {row['rejected']}"} for row in good(40)]
    assert [one for one in prepare(rows).metrics.warnings if one.startswith("40 pairs whose answers both begin with the whole prompt")]


def test_parts_that_all_are_dropped_are_named_where_too_few_are_left(refusal, good):
    def dialogue(row, side):
        return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}] * 2

    rows = [
        {"conversation_a": dialogue(row, "chosen"), "conversation_b": dialogue(row, "rejected"), "winner": "model_a"} for row in good(40)
    ]
    error = refusal(rows)
    assert (error.reason, error.message.endswith("; dropped: SeveralTurns 40")) == ("TooFewRows", True)
    assert error.hint.startswith("no row makes a pair")


def implicit(row, form):
    if form == "text":
        return {side: f"So it is {row['prompt']}: {row[side]}" for side in ("chosen", "rejected")}
    return {
        side: [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")
    }


@pytest.mark.parametrize("form", ["text", "messages"])
@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_a_system_message_stands_in_front_of_a_prompt_that_the_answers_share(refusal, prepare, good, form, column):
    rows = [{**implicit(row, form), column: "Be brief."} for row in good(40)]
    columns = {"chosen": "chosen", "rejected": "rejected", "system": column}
    if column != "system":
        assert f"data.source.columns: {{chosen: chosen, rejected: rejected, system: {column}}}" in refusal(rows).hint
    found = prepare(rows, columns=None if column == "system" else columns)
    pairs = read_spool(found.spool, found.sides["seed"])
    assert all(pair.prompt.startswith("System: Be brief.\n\nHuman: ") for pair in pairs)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"chosen": "chosen", "rejected": "rejected", "better": "label"}, "leave out better, or chosen and rejected"),
        (
            {"chosen": "chosen", "rejected": "rejected", "score_1": "s1", "score_2": "s2"},
            "leave out score_1, score_2, or chosen and rejected",
        ),
        (
            {"response_1": "chosen", "response_2": "rejected", "better": "label", "score_1": "s1", "score_2": "s2"},
            "leave out better, or score_1 and score_2",
        ),
        ({"chosen": "chosen", "rejected": "rejected", "weight": "scores"}, "name score_1 and score_2 in data.source.columns"),
        ({"chosen": "chosen", "rejected": "rejected", "margin": "scores"}, "whose difference is then the margin; or a column of margins"),
    ],
)
def test_columns_of_which_one_would_not_be_read_are_refused(refusal, good, columns, told):
    rows = [{**row, "label": 1, "s1": 2, "s2": 1} for row in good(40)]
    assert told in refusal(rows, columns={"prompt": "prompt", **columns}).hint


@pytest.mark.parametrize("key", ["weight", "margin"])
def test_scores_beside_the_better_answer_may_say_how_strong_the_preference_is(prepare, good, key):
    columns = {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected", "score_1": "s1", "score_2": "s2", key: "scores"}
    metrics = prepare([{**row, "s1": 2, "s2": 1} for row in good(40)], columns=columns).metrics
    assert (metrics.dropped, [one for one in metrics.warnings if "swapped" in one]) == ({}, [])
    swapped = prepare([{**row, "s1": 1, "s2": 2} for row in good(40)], columns=columns).metrics.warnings
    assert "the rejected answer has the higher score in 40 of 40 rows: are the two columns swapped?" in swapped


@pytest.mark.parametrize(
    "said",
    [
        {"tool_calls": [{"name": "clock"}]},
        {"function_call": {"name": "clock", "arguments": None}},
        {"function_calls": "clock()"},
        {"functions": "def clock()"},
        {"reasoning_content": "It is noon."},
        {"images": ["noon.png"]},
        {"audio": {"id": "a"}},
        {"documents": [{"text": "It is noon."}]},
    ],
)
def test_what_a_message_says_beside_its_content_is_never_lost(refusal, good, said):
    rows = [
        {
            **row,
            "chosen": [{"role": "assistant", "content": row["chosen"], **said}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in good(40)
    ]
    error = refusal(rows)
    assert (error.reason, f"chosen has a message with {next(iter(said))}, which is not read" in error.message) == ("NotText", True)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "text": ""},
        {"type": "input_audio", "text": "A bell.", "input_audio": {"data": "UklG"}},
        {"text": "", "image": "noon.png"},
        {"type": "thinking", "text": "Hm.", "signature": "a"},
    ],
)
def test_a_part_that_is_more_than_text_is_never_lost(refusal, good, part):
    rows = [{**row, "prompt": [{"role": "user", "content": [part, {"type": "text", "text": row["prompt"]}]}]} for row in good(40)]
    error = refusal(rows)
    assert (error.reason, "prompt has a message with a part that is no text" in error.message) == ("NotText", True)


@pytest.mark.parametrize(
    ("beside", "of_a_part"),
    [
        ({"tool_calls": [], "images": None}, {"type": "text", "image_url": None}),
        ({"function_call": {"name": None, "arguments": None}}, {"type": "input_text", "image": {"bytes": None, "path": None}}),
        ({"name": "Ann", "weight": 0}, {"type": None, "annotations": []}),
    ],
)
def test_keys_that_a_table_gives_to_every_message_are_no_reason(prepare, good, beside, of_a_part):
    rows = [{**row, "prompt": [{"role": "user", "content": [{"text": row["prompt"], **of_a_part}], **beside}]} for row in good(40)]
    prepared = prepare(
        [{**row, **{side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}} for row in rows]
    )
    assert prepared.metrics.dropped == {}
    assert {pair.prompt for pair in read_spool(prepared.spool, prepared.sides["seed"])} <= {row["prompt"] for row in good(40)}


def test_tools_inside_an_input_are_never_lost(refusal, prepare, good):
    def rows(tools):
        return [
            {
                "input": {"messages": [{"role": "user", "content": row["prompt"]}], "tools": tools},
                "preferred_output": [{"role": "assistant", "content": row["chosen"]}],
                "non_preferred_output": [{"role": "assistant", "content": row["rejected"]}],
            }
            for row in good(40)
        ]

    assert prepare(rows([])).metrics.dropped == {}
    assert "input comes with tools, which are not read" in refusal(rows([{"type": "function"}])).message


def test_labels_of_a_second_person_are_told(prepare, good):
    def row(number, pair):
        labels = {"better": 1 + number % 2, "better_bob": str(1 + number % 3 // 2), "turns": 1 + number % 2, "label": 1}
        return {"prompt": pair["prompt"], "answer_1": pair["chosen"], "answer_2": pair["rejected"], **labels}

    warnings = prepare([row(number, pair) for number, pair in enumerate(good(40))]).metrics.warnings
    told = [one.partition(" holds labels and is not used")[0] for one in warnings if "holds labels" in one]
    assert told == ["the column 'better_bob' of data.jsonl"]


def test_of_a_set_whose_columns_no_key_can_name_the_hint_loses_none_of_them(refusal, good):
    rows = [{**row, "instruction": row["prompt"], "input": "it", "history": [["Is it?", "Yes."]]} for row in good(40)]
    hint = refusal([{name: row[name] for name in row if name != "prompt"} for row in rows]).hint
    assert hint == "write what it says into the prompt, or remove the column, if the answers do not need it"
