import gzip
import json
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ser_core.data.preparing.pairs.validation import check_pair, pair_id
from ser_core.data.reading.dialogues.turns import TURN
from ser_core.data.reading.files.readers import detect, read_rows
from ser_core.data.reading.files.rows import DataFile, Row, RowError
from ser_core.data.reading.formats import Form, RawPair, describe
from ser_core.data.reading.layouts.finding import find_layout, read_pairs
from ser_core.errors import DataError


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def converted(fields):
    (pair,) = read_pairs(fields, find_layout(fields, "data.jsonl", None, labels_needed=False))
    return pair


PAIR = RawPair("What is up?", "the sky", "the floor", 1)
TURNS = [user("Hi"), assistant("Hello"), user("What is up?")]
DIALOGUE = RawPair(f"{TURN}Human: Hi\n\n{TURN}Assistant: Hello\n\n{TURN}Human: What is up?", "the sky", "the floor", 1)
HH = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: What is up?\n\nAssistant: "


@pytest.mark.parametrize(
    ("fields", "pair"),
    [
        ({"prompt": "What is up?", "chosen": "the sky", "rejected": "the floor"}, PAIR),
        ({"prompt": [user("What is up?")], "chosen": [assistant("the sky")], "rejected": [assistant("the floor")]}, PAIR),
        ({"prompt": TURNS, "chosen": [assistant("the sky")], "rejected": [assistant("the floor")]}, DIALOGUE),
        ({"chosen": [*TURNS, assistant("the sky")], "rejected": [*TURNS, assistant("the floor")]}, DIALOGUE),
        ({"prompt": "What is up?", "chosen": [*TURNS, assistant("the sky")], "rejected": [*TURNS, assistant("the floor")]}, DIALOGUE),
        ({"chosen": HH + "the sky", "rejected": HH + "the floor"}, DIALOGUE),
        ({"chosen": "\n\nHuman: What is up?\n\nAssistant: the sky", "rejected": "\n\nHuman: What is up?\n\nAssistant: the floor"}, PAIR),
        ({"chosen": "The sky is blue.", "rejected": "The sky is black."}, RawPair("The sky is ", "blue.", "black.", 1)),
        (
            {"prompt": "What is up?", "answer_1": "the floor", "answer_2": "the sky", "better": 2},
            RawPair("What is up?", "the floor", "the sky", 2),
        ),
        ({"prompt": "What is up?", "answer_1": "the sky", "answer_2": "the floor"}, RawPair("What is up?", "the sky", "the floor", None)),
    ],
    ids=[
        "explicit text",
        "explicit messages",
        "explicit dialogue",
        "implicit messages",
        "prompt beside whole dialogues",
        "HH dialogue",
        "HH one turn",
        "implicit text",
        "answers",
        "unlabelled",
    ],
)
def test_every_form_gives_the_same_pair(fields, pair):
    assert converted(fields) == pair


def test_a_system_message_stays_in_front_of_the_prompt():
    fields = {"prompt": [{"role": "system", "content": "Be brief."}, user("Hi")], "chosen": [assistant("a")], "rejected": [assistant("b")]}
    assert converted(fields).prompt == f"{TURN}System: Be brief.\n\n{TURN}Human: Hi"


def test_a_dialogue_whose_lines_end_at_crlf_is_one():
    row = {"chosen": HH + "I say the sky", "rejected": HH + "I say the floor"}
    assert converted({side: text.replace("\n", "\r\n") for side, text in row.items()}) == converted(row)
    assert converted({"prompt": HH.replace("\n", "\r\n"), "chosen": "the sky", "rejected": "the floor"}) == DIALOGUE


def test_a_prompt_column_may_be_a_user_turn_that_is_written_as_a_dialogue():
    written = "Human: What is up?\n\nAssistant:"
    row = {"prompt": written, "chosen": [user(written), assistant("the sky")], "rejected": [user(written), assistant("the floor")]}
    assert converted(row) == RawPair(written, "the sky", "the floor", 1)


def test_a_system_column_of_a_word_that_the_question_begins_with_is_added():
    row = {"prompt": "Answer me: what is up?", "system": "Answer", "chosen": "a", "rejected": "b"}
    assert converted(row).prompt == f"{TURN}System: Answer\n\n{TURN}Human: Answer me: what is up?"


@pytest.mark.parametrize("said", ["You are X.", "You are X"])
@pytest.mark.parametrize(
    "written",
    [
        "[INST] <<SYS>>\n{}\n<</SYS>>\n\nhi [/INST]",
        "<s>[INST] {}\n\nhi [/INST]",
        "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n",
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|system|>\n{}</s>\n<|user|>\nhi",
        "<bos><start_of_turn>user\n{}<end_of_turn>",
        "[SYSTEM_PROMPT]{}[/SYSTEM_PROMPT][INST]hi[/INST]",
        "### System:\n{}\n\n### User:\nhi",
        "SYSTEM: {}\nUSER: hi",
        "system\n{}\nuser\nhi",
    ],
)
def test_a_system_column_is_not_added_where_a_template_has_written_it(written, said):
    row = {"prompt": written.format(said), "system": said, "chosen": "a", "rejected": "b"}
    assert converted(row).prompt == written.format(said)
    assert converted(row | {"system": "You are"}).prompt.startswith(f"{TURN}System: You are\n\n")


@pytest.mark.parametrize("empty", ["", " \n", None])
def test_a_system_message_without_text_is_none(empty):
    asked = [{"role": "system", "content": empty}, user("What is up?")]
    said = f"System:{empty or ''}\n\nHuman: What is up?\n\nAssistant:"
    for row in (
        {"chosen": [*asked, assistant("the sky")], "rejected": [*asked, assistant("the floor")]},
        {"prompt": asked, "chosen": "the sky", "rejected": "the floor"},
        {"prompt": json.dumps(asked), "chosen": "the sky", "rejected": "the floor"},
        {"prompt": said, "chosen": "the sky", "rejected": "the floor"},
        {"chosen": f"{said} the sky", "rejected": f"{said} the floor"},
    ):
        assert converted(row) == PAIR


@pytest.mark.parametrize(
    ("prompt", "added"),
    [
        ([user("Who?"), assistant("Be brief. I am."), user("What is up?")], True),
        ("\n\nHuman: Who?\n\nAssistant: Be brief. I am.\n\nHuman: What is up?\n\nAssistant:", True),
        ("Who said Be brief. first?", True),
        ("Be brief.", False),
        ("Be brief. What is up?", False),
        ("System: Be brief.\n\nHuman: What is up?", False),
        ([{"role": "system", "content": "Be brief. It is noon."}, user("What is up?")], False),
        ([user("Who?"), assistant("I."), {"role": "system", "content": "Be brief."}, user("What is up?")], False),
    ],
)
def test_a_system_column_is_added_unless_it_stands_where_a_system_message_does(prompt, added):
    row = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    alone, beside = converted(row).prompt, converted(row | {"system": "Be brief."}).prompt
    assert beside.removeprefix(f"{TURN}System: Be brief.\n\n") != beside if added else beside == alone


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"chosen": "one", "rejected": "two"}, "PromptMismatch"),
        ({"prompt": "q", "chosen": "text", "rejected": [assistant("b")]}, "NotText"),
        ({"prompt": "q", "chosen": [*TURNS, assistant("a")], "rejected": [*TURNS, assistant("b")]}, "PromptMismatch"),
        ({"prompt": [user("q")], "chosen": [*TURNS, assistant("a")], "rejected": [*TURNS, assistant("b")]}, "PromptMismatch"),
        ({"chosen": [user("q"), {"role": "tool", "content": "x"}], "rejected": [user("q")]}, "BadTurns"),
        ({"chosen": [user("q"), {"role": "assistant", "content": 3}], "rejected": [user("q")]}, "NotText"),
        ({"prompt": [assistant("q")], "chosen": "a", "rejected": "b"}, "BadTurns"),
    ],
)
def test_a_row_that_fits_no_form_says_why(fields, reason):
    with pytest.raises(RowError) as caught:
        converted(fields)
    assert caught.value.reason == reason


def test_unknown_columns_are_shown_with_the_accepted_forms():
    with pytest.raises(DataError) as caught:
        find_layout(["question", "answer"], "data.csv", None, labels_needed=True)
    assert "'answer', 'question'" in caught.value.message
    assert "prompt, chosen, rejected" in caught.value.hint


def test_unlabelled_answers_are_refused_where_labels_are_needed():
    columns = ["prompt", "answer_1", "answer_2"]
    assert find_layout(columns, "x", None, labels_needed=False).form is Form.UNLABELED_ANSWERS
    with pytest.raises(DataError, match="no labels"):
        find_layout(columns, "x", None, labels_needed=True)


ROWS = [{"prompt": 'a, "b"\nc', "chosen": "é", "rejected": "z"}, {"prompt": "d", "chosen": "e", "rejected": "f"}]


def as_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return path.read_bytes()


def as_lines():
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


CSV = 'prompt,chosen,rejected\n"a, ""b""\nc",é,z\nd,e,f\n'.encode()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.jsonl", as_lines(), "jsonl"),
        ("x.jsonl.gz", gzip.compress(as_lines()), "jsonl.gz"),
        ("x.jsonl.zst", pa.compress(as_lines(), "zstd", asbytes=True), "jsonl.zst"),
        ("x.json", json.dumps(ROWS, indent=2).encode(), "json"),
        ("x.json.gz", gzip.compress(json.dumps(ROWS).encode()), "json.gz"),
        ("x.csv", CSV, "csv"),
        ("x.csv.gz", gzip.compress(CSV), "csv.gz"),
        ("x.parquet", None, "parquet"),
    ],
)
def test_every_container_gives_the_same_rows(write, tmp_path, name, content, kind):
    file = DataFile(name, write(content if content is not None else as_parquet(tmp_path / "t"), name))
    container = detect(file)
    assert str(container) == kind
    rows = list(read_rows(file, container, lambda _: None, set()))
    assert all(isinstance(row, Row) for row in rows)
    assert [dict(row.fields) for row in rows] == ROWS


def test_rows_know_their_lines(write):
    def where(name, content):
        file = DataFile(name, write(content, name))
        return [row.line for row in read_rows(file, detect(file), lambda _: None, set())]

    assert where("x.jsonl", as_lines().replace(b"\n", b"\n\n")) == [1, 3]
    assert where("x.json", json.dumps(ROWS, indent=2).encode()) == [2, 7]
    assert where("x.csv", CSV) == [2, 4]  # the first row stands on two lines


def test_a_json_array_larger_than_one_chunk_is_streamed(write):
    rows = [{"prompt": "p" * 1000, "chosen": f"é{n}", "rejected": "r"} for n in range(700)]
    file = DataFile("x.json", write(json.dumps(rows, ensure_ascii=False).encode(), "x.json"))
    assert [row.fields for row in read_rows(file, detect(file), lambda _: None, set())] == rows


@pytest.mark.parametrize("content", [b'[{"a": 1}, {"a": ', b'[{"a": 1} {"a": 2}]', b'[{"a": 1}] [', b'[{"a": 1}, nonsense]'])
def test_a_malformed_array_is_refused_with_the_line(write, content):
    file = DataFile("x.json", write(b"\n" + content, "x.json"))
    with pytest.raises(DataError, match=r"x.json, line 2") as caught:
        list(read_rows(file, detect(file), lambda _: None, set()))
    assert caught.value.reason == "MalformedJson"


@pytest.mark.parametrize(("content", "reason"), [(b'a,b\n"x,1\ny,2\n', "MalformedCsv"), (b"a,a\n1,2\n", "DuplicateColumn")])
def test_a_csv_that_cannot_be_trusted_is_refused(write, content, reason):
    file = DataFile("x.csv", write(content, "x.csv"))
    with pytest.raises(DataError) as caught:
        list(read_rows(file, detect(file), lambda _: None, set()))
    assert caught.value.reason == reason


def test_a_cell_with_a_carriage_return_is_told_to_get_quotes(write):
    file = DataFile("x.csv", write(b"a,b\none\rtwo,3\n", "x.csv"))
    with pytest.raises(DataError) as caught:
        list(read_rows(file, detect(file), lambda _: None, set()))
    assert "quotes around it" in caught.value.hint


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_cells_may_be_separated_as_spreadsheets_of_other_countries_do(write, mark):
    file = DataFile("x.csv", write(f'\ufeff"a, or b"{mark}c\r\n"1{mark}, 2"{mark}"3, 4"\r\n'.encode(), "x.csv"))
    assert [row.fields for row in read_rows(file, detect(file), lambda _: None, set())] == [{"a, or b": f"1{mark}, 2", "c": "3, 4"}]


def test_columns_without_a_name_at_the_end_of_a_csv_are_ignored(write):
    file = DataFile("x.csv", write(b"a,b,,\n1,2,,\n", "x.csv"))
    assert [(row.fields["a"], row.fields["b"]) for row in read_rows(file, detect(file), lambda _: None, set())] == [("1", "2")]


def rows_of(write, content):
    file = DataFile("x.csv", write(content, "x.csv"))
    return [row.fields for row in read_rows(file, detect(file), lambda _: None, set())]


def test_empty_rows_of_a_csv_are_no_rows(write):
    assert rows_of(write, b"a,b\n,\n1,2\n , \n\n,,\n") == [{"a": "1", "b": "2"}]


def test_a_space_behind_each_separator_of_a_csv_is_no_part_of_names_and_cells(write):
    assert rows_of(write, b'a, b ,c\n1, "2, and 3", 4\n') == [{"a": "1", "b": "2, and 3", "c": "4"}]
    assert rows_of(write, b'a,b\n1, "2, and 3"\n4,5\n') == [{"a": "1", "b": "2, and 3"}, {"a": "4", "b": "5"}]
    assert rows_of(write, b'a,b\n1, "2\n3"\n') == [{"a": "1", "b": "2\n3"}]


def test_a_cell_of_a_csv_may_begin_with_a_space(write):
    row = {"id, of row": "1", "b": ' "Good" answer'}
    assert rows_of(write, b'"id, of row",b\n1, "Good" answer\n') == [row]
    assert rows_of(write, b'"id, of row",b\n1, 2\n1, "Good" answer\n') == [{**row, "b": " 2"}, row]


@pytest.mark.parametrize("again", ["a,c,b", "a, b, c", "A,b ,c"])
def test_names_of_columns_that_stand_again_in_another_way_are_refused(write, again):
    with pytest.raises(DataError, match=r"x.csv, line 3: columns are named again") as caught:
        rows_of(write, f"a,b,c\n1,2,3\n{again}\n4,5,6\n".encode())
    assert caught.value.reason == "MalformedCsv"


def test_names_of_columns_that_stand_again_where_csv_files_were_put_together_are_no_row(write):
    assert rows_of(write, "a,b\n1,2\n\ufeffa,b\n3,4\n".encode()) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_a_csv_row_with_other_cells_than_columns_is_bad(write):
    file = DataFile("x.csv", write(b"a,b\n1,2\n1,2,3\n", "x.csv"))
    assert [getattr(row, "reason", None) for row in read_rows(file, detect(file), lambda _: None, set())] == [None, "MalformedRow"]


def test_a_damaged_parquet_file_is_refused(write, tmp_path):
    content = as_parquet(tmp_path / "t")
    file = DataFile("x.parquet", write(content[: len(content) // 2], "x.parquet"))
    with pytest.raises(DataError) as caught:
        list(read_rows(file, detect(file), lambda _: None, set()))
    assert caught.value.reason == "CorruptFile"


def test_the_rows_in_the_manual_are_the_same_pair():
    manual = (Path(__file__).parents[4] / "docs" / "data-formats.md").read_text()
    rows = [json.loads(line) for line in manual.partition("```json\n")[2].partition("```")[0].splitlines()]
    (pair,) = {check_pair(converted(row), "source", turns=False)[0] for row in rows}
    assert {pair_id(pair.prompt, *answers) for answers in permutations((pair.answer_1, pair.answer_2))} == {pair.id}


@pytest.mark.parametrize("answer", [assistant("the sky"), [assistant("the sky")]])
def test_messages_are_told_as_messages_also_where_each_stands_alone(answer):
    assert describe(Form.EXPLICIT, [{"prompt": "What is up?", "chosen": answer, "rejected": answer}]).endswith("messages")
