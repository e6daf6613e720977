"""Columns and places that a specification names."""

import pytest

from ser_core.api.spec.data import Columns, FileSpec
from ser_core.data.reading.dialogues.turns import TURN
from ser_core.data.reading.files.rows import RowError
from ser_core.data.reading.formats import RawPair
from ser_core.data.reading.layouts.finding import find_layout, read_pairs
from ser_core.data.reading.sources import open_source
from ser_core.errors import DataError


def read(row, **columns):
    return read_pairs(row, find_layout(row, "data.jsonl", Columns(**columns), labels_needed="better" in columns or "score_1" in columns))


ROW = {"q": "What is up?", "s": "Be brief.", "x": "the sky", "y": "the floor", "n": 2, "u": 0.1, "v": 0.2, "prompt": "not this"}
LABELS = {
    "A": 1,
    "b": 2,
    "model_b": 2,
    "Response A": 1,
    " 2": 2,
    "2.00": 2,
    "TIE": 0,
    "x": 1,
    "Y": 2,
    "left": 1,
    "Right": 2,
    '{"selected": "right"}': 2,
    '["y"]': 2,
}


@pytest.mark.parametrize("label", LABELS)
def test_a_label_names_the_better_answer(label):
    [pair] = read({**ROW, "n": label}, prompt="q", response_1="x", response_2="y", better="n")
    assert (pair.answer_1, pair.answer_2, pair.better) == ("the sky", "the floor", LABELS[label])


@pytest.mark.parametrize("score", ["0,5", "-0,25"])
def test_a_score_may_have_the_decimal_comma_of_a_spreadsheet(score):
    columns = {"prompt": "q", "response_1": "x", "response_2": "y", "score_1": "u", "score_2": "v"}
    assert read({**ROW, "u": score, "v": "0,1"}, **columns)[0].better == (1 if score == "0,5" else 2)
    with pytest.raises(RowError, match="'1,000', expected a number"):
        read({**ROW, "u": "1,000"}, **columns)


@pytest.mark.parametrize("label", [["y"], {"selected": "right"}, [2]])
def test_a_label_may_stand_in_what_a_labelling_tool_puts_around_it(label):
    assert read({**ROW, "n": label}, prompt="q", response_1="x", response_2="y", better="n")[0].better == 2


def test_a_side_is_that_of_the_answers_own_column():
    row = {"q": "What is up?", "left_text": "the floor", "right_text": "the sky", "n": "right"}
    [pair] = read(row, prompt="q", response_1="right_text", response_2="left_text", better="n")
    assert (pair.answer_1, pair.better) == ("the sky", 1)


@pytest.mark.parametrize(("label", "better"), [("B", 1), ("model_a", 2), ("answer_b", 1)])
def test_a_letter_is_that_of_the_answers_own_column(label, better):
    row = {"q": "What is up?", "answer_a": "the floor", "answer_b": "the sky", "n": label}
    [pair] = read(row, prompt="q", response_1="answer_b", response_2="answer_a", better="n")
    assert (pair.answer_1, pair.better) == ("the sky", better)


def test_a_letter_at_the_end_of_a_name_by_chance_means_nothing():
    row = {"q": "What is up?", "mistral_7b": "the sky", "vicuna": "the floor", "n": "A"}
    [pair] = read(row, prompt="q", response_1="mistral_7b", response_2="vicuna", better="n")
    assert (pair.answer_1, pair.better) == ("the sky", 1)


@pytest.mark.parametrize(
    "label", [0, True, -1, 0.9, "C", "model_1", "the sky", ["A", "B"], [], {"selected": "both"}, {"chosen": "y"}, [["y"]]]
)
def test_a_label_that_may_mean_either_answer_is_refused_by_the_column_of_the_file(label):
    with pytest.raises(RowError, match=r"n is .*, expected 1, 2 or tie, A or B"):
        read({**ROW, "n": label}, prompt="q", response_1="x", response_2="y", better="n")


def test_a_missing_text_is_told_by_the_column_of_the_file():
    with pytest.raises(RowError, match="q is null"):
        read({**ROW, "q": None}, prompt="q", chosen="x", rejected="y")


@pytest.mark.parametrize(
    ("columns", "pair"),
    [
        ({"prompt": "q", "chosen": "x", "rejected": "y"}, RawPair("What is up?", "the sky", "the floor", 1)),
        (
            {"prompt": "q", "system": "s", "chosen": "x", "rejected": "y"},
            RawPair(f"{TURN}System: Be brief.\n\n{TURN}Human: What is up?", "the sky", "the floor", 1),
        ),
        ({"prompt": "q", "response_1": "x", "response_2": "y", "better": "n"}, RawPair("What is up?", "the sky", "the floor", 2)),
        (
            {"prompt": "q", "response_1": "x", "response_2": "y", "score_1": "u", "score_2": "v"},
            RawPair("What is up?", "the sky", "the floor", 2),
        ),
        ({"prompt": "q", "response_1": "x", "response_2": "y"}, RawPair("What is up?", "the sky", "the floor", None)),
    ],
)
def test_named_columns_are_read(columns, pair):
    assert read(ROW, **columns) == [pair]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"prompt": "q", "chosen": "x"}, "UnknownColumns"),
        ({"chosen": "x", "rejected": "gone"}, "MissingColumn"),
        ({}, "UnknownColumns"),
    ],
)
def test_columns_that_make_no_pair_are_refused(columns, reason):
    with pytest.raises(DataError) as caught:
        read(ROW, **columns)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("there", "line"),
    [
        (("question", "good", "bad"), "{prompt: question, chosen: good, rejected: bad}"),
        (
            ("Query", "Response A", "Response B", "score_a", "score_b", "id"),
            "{prompt: Query, response_1: Response A, response_2: Response B, ",
        ),
        (("good", "bad"), "{chosen: good, rejected: bad}"),
        (("prompt", "answer1", "answer2", "preference"), "{prompt: prompt, response_1: answer1, response_2: answer2, better: preference}"),
        (("prompt", "chosenResponse", "rejectedResponse"), "{prompt: prompt, chosen: chosenResponse, rejected: rejectedResponse}"),
        (("Prompt ", "Chosen", "Rejected"), '{prompt: "Prompt ", chosen: Chosen, rejected: Rejected}'),
        (("text", "stars"), None),
    ],
)
def test_a_line_is_proposed_where_the_names_sound_like_a_pair(there, line):
    with pytest.raises(DataError) as caught:
        find_layout(there, "data.jsonl", None, labels_needed=True, field="data.seed")
    proposed = f"write data.seed.columns: {line}" if line else "say which column holds what in data.seed.columns"
    assert proposed in caught.value.hint


def test_a_misspelt_column_is_corrected():
    with pytest.raises(DataError) as caught:
        find_layout(("question", "good", "bad"), "x", Columns(prompt="question", chosen="god", rejected="bad"), labels_needed=True)
    assert "write data.source.columns: {prompt: question, chosen: good, rejected: bad}" in caught.value.hint


def hint_for(there, **columns):
    with pytest.raises(DataError) as caught:
        find_layout(there, "x", Columns(**columns), labels_needed=True)
    return caught.value.hint


def test_no_column_is_proposed_for_two_things():
    assert hint_for(("prompt", "answers"), prompt="prompt", chosen="answer1", rejected="answer2") == (
        "name columns that are there in data.source.columns"
    )
    assert hint_for(("prompt", "answer1"), prompt="prompt", chosen="answer1", rejected="answer2").startswith("name columns that are there")


def test_names_of_parts_of_a_column_are_told_to_become_columns():
    hint = hint_for(("fields", "answers"), prompt="fields.prompt", chosen="answers.best", rejected="answers.worst")
    assert hint.endswith("one column for each of answers.best, answers.worst, fields.prompt")


def test_named_answers_without_labels_are_told_which_key_to_add():
    with pytest.raises(DataError) as caught:
        find_layout(ROW, "x", Columns(prompt="q", response_1="x", response_2="y"), labels_needed=True)
    assert caught.value.hint == "name that of the labels in data.source.columns, as better, or give the file as data.unlabeled"


@pytest.mark.parametrize(("place", "field"), [({"path": "nope"}, "path"), ({"split": "dev"}, "split"), ({"subset": "de"}, "subset")])
def test_a_wrong_place_is_told_with_its_own_field(write, prepare, good, place, field):
    folder = write(good(40), "some/train.jsonl").parent
    with pytest.raises(DataError) as caught:
        prepare(folder, **place)
    assert caught.value.message.startswith(f"data.source.{field}: ")
    assert caught.value.hint == f"correct data.source.{field}, or leave it out"


NAMES = (
    *(
        "default/train_prefs-00000-of-00001.parquet",
        "default/train_sft-00000-of-00001.parquet",
        "default/test_prefs-00000-of-00001.parquet",
    ),
    *("en/train.jsonl", "en/test.jsonl", "fr/train.jsonl"),
)


@pytest.mark.parametrize(
    ("place", "files"),
    [
        ({"split": "train_prefs"}, ["default/train_prefs-00000-of-00001.parquet"]),
        ({"split": "test"}, ["en/test.jsonl"]),
        ({"subset": "en"}, ["en/train.jsonl"]),
        ({"subset": "en", "split": "test"}, ["en/test.jsonl"]),
        ({"path": "fr"}, ["fr/train.jsonl"]),
        ({"path": "en/test.jsonl"}, ["en/test.jsonl"]),
        (
            {"path": "default", "split": "prefs"},
            ["default/test_prefs-00000-of-00001.parquet", "default/train_prefs-00000-of-00001.parquet"],
        ),
    ],
)
def test_a_place_in_a_dataset_is_named(write, access, tmp_path, place, files):
    for name in NAMES:
        write(b"{}", name)
    uri = f"file://{tmp_path}/in"
    assert [file.name for file in open_source(uri, access, tmp_path / "d", lambda: None, FileSpec(uri=uri, **place)).files] == files


def test_a_place_that_is_not_there_is_refused_with_what_is(write, access, tmp_path):
    write(b"{}", "en/train.jsonl")
    uri = f"file://{tmp_path}/in"
    with pytest.raises(DataError, match=r"no file of the subset 'de', but en/train\.jsonl"):
        open_source(uri, access, tmp_path / "d", lambda: None, FileSpec(uri=uri, subset="de"))


def test_several_splits_of_training_are_told(write, access, tmp_path):
    for name in NAMES[:3]:
        write(b"{}", name)
    remarks = open_source(f"file://{tmp_path}/in", access, tmp_path / "d", lambda: None).remarks
    assert ["train_prefs, train_sft are read" in remark for remark in remarks] == [True]


def test_answers_that_are_rated_one_by_one_are_told_to_be_paired():
    with pytest.raises(DataError) as caught:
        find_layout(("prompt", "completion", "label"), "kto.jsonl", None, labels_needed=True)
    assert "write pairs" in caught.value.hint


@pytest.mark.parametrize("ranks", ["ranks", "scores"])
def test_lists_of_answers_and_ranks_are_told_to_be_paired(ranks):
    with pytest.raises(DataError) as caught:
        find_layout(("prompt", "responses", ranks), "ranked.jsonl", None, labels_needed=True)
    assert caught.value.hint.startswith(f"of rows with a list in responses and one in {ranks}, write pairs")


@pytest.mark.parametrize("columns", [("messages",), ("instruction", "input", "output")])
def test_sets_for_fine_tuning_are_told_to_make_no_pairs(columns):
    with pytest.raises(DataError) as caught:
        find_layout(columns, "sft.jsonl", None, labels_needed=True)
    assert caught.value.hint.endswith("rows with one answer each, as for fine-tuning, make no pairs")
