"""`ser score` on a small real model: what goes in, what comes out, what is refused."""

import csv
import gzip
import io
import json
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_models import write_plain
from unit.conftest import SEED_PAIR, write_run
from unit.learn.sentencepiece_like import policy

from ser_core.cli.access.score_input import ScoreRow, read_score_rows
from ser_core.cli.commands.reading.score import as_json, result_of

ROWS = [
    {"prompt": "what is it", "chosen": "good word", "rejected": "bad", "id": "a"},
    {"prompt": "what", "chosen": "it is a good good word", "rejected": "bad bad word is it"},
    {"prompt": "is it", "chosen": "good", "rejected": "word"},
    {
        "prompt": "a question that is longer than the model reads",
        "chosen": "good",
        "rejected": "an answer that is longer alone, word for word",
    },
]
LONG_ROWS = [
    {"prompt": "what is it", "chosen": "good word " * 40, "rejected": "bad " * 27},
    {"prompt": "what is it " * 30, "chosen": "good word " * 14, "rejected": "bad word"},
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def results(ended):
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_pairs_get_scores_a_label_and_a_confidence(ser, writable_run, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text(lines(ROWS))
    found = results(ser("score", file, "--run", writable_run.file))
    assert [(row["line"], row.get("id")) for row in found] == [(1, "a"), (2, None), (3, None), (4, None)]
    for row in found:
        assert row["better"] == (1 if row["score_1"] > row["score_2"] else 2)
        assert 0.5 <= row["confidence"] < 1
        assert row["agrees"] == (row["better"] == 1)


def test_labels_of_pairs_that_the_model_has_learnt_are_counted_apart(ser, writable_run, tmp_path):
    prompt, chosen, rejected = SEED_PAIR
    file = tmp_path / "pairs.jsonl"

    def told(*rows):
        file.write_text(lines(rows))
        return ser("score", file, "--run", writable_run.file).err

    learnt = {"prompt": f" {prompt.upper()} ", "chosen": chosen, "rejected": rejected}
    assert "the reward model has learnt" not in told(*ROWS[1:])
    assert "% of 4 labels agree; the reward model has learnt 1 of these pairs: of the 3 others " in told(learnt, *ROWS[1:])
    assert told(learnt).endswith("; the reward model has learnt 1 of these pairs: none is new to it\n")
    assert "of these pairs" not in told({"prompt": prompt, "answer": chosen})


def test_of_the_seed_model_the_learnt_pairs_are_those_of_the_seed_alone(ser, writable_run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("ser_core.cli.access.learnt_pairs._learnt", lambda copies, ledger, loop: asked.append(loop) or ())
    for loop in ((), ("--loop", "0"), ("-l", "1")):
        assert ser("score", "-", "--run", writable_run.file, *loop, stdin=lines(ROWS[:1])).code == 0
    assert asked == [2, 0, 1]


def test_a_model_that_does_not_hold_is_not_used_in_silence(ser, writable_run, monkeypatch, tmp_path):
    monkeypatch.setattr("ser_core.report.findings.against", lambda *_, **__: "does not hold")
    for words in (("score", "-", "--run", writable_run.file), ("export", writable_run.file, tmp_path / "exported")):
        assert "warning: the reward model of loop 2 does not hold\n" in ser(*words, stdin=lines(ROWS[:1])).err


def test_equal_scores_name_no_better_answer():
    row = ScoreRow("", 1, None, "p", ("a", "a"), 1)
    assert result_of(row, [0.5, 0.5], 1.0) == {
        "line": 1,
        "score_1": 0.5,
        "score_2": 0.5,
        "better": None,
        "confidence": 0.5,
        "agrees": False,
    }


def test_answers_from_standard_input_get_the_scores_that_they_have_in_pairs(ser, writable_run, tmp_path):
    (pair,) = results(ser("score", "-", "--run", writable_run.file, stdin=lines(ROWS[:1])))
    answers = [{"prompt": ROWS[0]["prompt"], "answer": ROWS[0][side]} for side in ("chosen", "rejected")]
    found = results(ser("score", "-", "--run", writable_run.file, stdin=lines(answers)))
    assert [row["score"] for row in found] == [pair["score_1"], pair["score_2"]]


def test_an_empty_answer_is_scored_and_told(ser, writable_run):
    answers = [{"prompt": "what", "answer": text} for text in ("good", " ", "")]
    ended = ser("score", "-", "--run", writable_run.file, stdin=lines(answers))
    assert (ended.code, len(ended.out.splitlines())) == (0, 3)
    assert "2 rows with an empty answer, the first in line 2" in ended.err


def test_a_folder_is_scored_as_a_run_reads_it(ser, writable_run, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train-1.jsonl").write_text(lines(ROWS[:1]))
    (folder / "train-2.jsonl").write_text(lines([{"question": "what is it", "chosen": "good word", "rejected": "bad"}]))
    (folder / "test.jsonl").write_text(lines(ROWS))
    found = results(ser("score", folder, "--run", writable_run.file))
    assert [(row["file"], row["line"]) for row in found] == [("train-1.jsonl", 1), ("train-2.jsonl", 1)]
    assert found[0]["score_1"] == found[1]["score_1"]


@pytest.mark.parametrize(
    ("row", "same"),
    [
        ({"prompt": "What?", "system": "Be brief."}, {"prompt": "System: Be brief.\n\nHuman: What?"}),
        ({"answer": [{"role": "assistant", "content": "yes"}]}, {}),
        ({"answer": {"role": "assistant", "content": "yes"}}, {}),
        (
            {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What?"}]},
            {"prompt": "System: Be brief.\n\nHuman: What?"},
        ),
        ({"question": "what?", "context": ""}, {}),
    ],
)
def test_a_single_answer_may_have_every_form_that_pairs_have(ser, writable_run, row, same):
    plain = {"prompt": "What?", "answer": "yes"}
    one, other = results(ser("score", "-", "--run", writable_run.file, stdin=lines([plain | row, plain | same])))
    assert one["score"] == other["score"]


@pytest.mark.parametrize("answers", [{"answer": "yes"}, {"chosen": "yes", "rejected": "no"}])
@pytest.mark.parametrize(("column", "value"), [("context", "It is noon."), ("tools", [{"name": "clock"}]), ("history", [["Hi", "Hello"]])])
def test_a_part_of_the_question_that_is_not_read_is_refused(ser, writable_run, answers, column, value):
    ended = ser("score", "-", "--run", writable_run.file, stdin=json.dumps({"prompt": "What?", **answers, column: value}))
    assert (ended.code, f"the column {column!r} is not used" in ended.err) == (11, True)
    assert f"write it into the prompt, or take {column} out" in ended.err


def test_a_dialogue_is_no_answer(ser, writable_run):
    said = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "yes"}]
    ended = ser("score", "-", "--run", writable_run.file, stdin=json.dumps({"prompt": "What?", "answer": said}))
    assert (ended.code, "not one turn of the assistant" in ended.err) == (11, True)


@pytest.mark.parametrize("name", ["\ud800", float("nan"), {"a": [1]}, 7, True])
def test_any_id_is_printed(ser, writable_run, name):
    (found,) = results(ser("score", "-", "--run", writable_run.file, stdin=json.dumps({**ROWS[0], "id": name}) + "\n"))
    assert str(found["id"]) == str(name)


@pytest.mark.parametrize("name", [b"\xff", datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.5")])
def test_an_id_that_json_does_not_know_is_written_as_text(name):
    assert json.loads(as_json({"id": name})) == {"id": str(name)}


def csv_of(rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet_of(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


FORMS = {
    "JSON array": lambda rows: json.dumps(rows, indent=1).encode(),
    "byte order mark": lambda rows: b"\xef\xbb\xbf" + lines(rows).encode(),
    "gzip": lambda rows: gzip.compress(lines(rows).encode()),
    "CSV": csv_of,
    "CSV in gzip": lambda rows: gzip.compress(csv_of(rows)),
    "parquet": parquet_of,
}


@pytest.mark.parametrize("form", FORMS)
def test_standard_input_may_have_any_form_of_a_file(ser, writable_run, form):
    rows = [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in ROWS[:2]]
    expected = results(ser("score", "-", "--run", writable_run.file, stdin=lines(rows)))
    found = results(ser("score", "-", "--run", writable_run.file, stdin=FORMS[form](rows)))
    assert [row["score_1"] for row in found] == pytest.approx([row["score_1"] for row in expected])


def test_json_lines_on_standard_input_are_read_as_they_come(monkeypatch, tmp_path):
    reading, writing = os.pipe()
    with os.fdopen(reading) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        os.write(writing, f"\n{lines(ROWS[:1])}".encode())
        rows = read_score_rows("-", None, None, tmp_path)
        assert next(rows).line == 2  # no end of the stream is awaited
        os.write(writing, lines(ROWS[1:2]).encode())
        os.close(writing)
        assert [row.line for row in rows] == [3]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a PNG image"),
        (b"not json\n", "is neither JSON Lines, JSON, CSV, parquet nor Arrow"),
        (lines(ROWS).encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_standard_input_that_holds_no_rows_is_told_like_a_file(ser, writable_run, content, told):
    ended = ser("score", "-", "--run", writable_run.file, stdin=content)
    assert (ended.code, "standard input" in ended.err) == (11, True)
    assert told in ended.err


def test_a_single_answer_without_a_column_is_told_which(ser, writable_run):
    rows = [{"prompt": "what", "answer": "good"}, {"prompt": "what"}]
    assert "standard input, line 2: answer is missing" in ser("score", "-", "--run", writable_run.file, stdin=lines(rows)).err


@pytest.mark.parametrize(("prompt", "named"), [(" ", "prompt"), ("what", None)])
def test_an_empty_prompt_is_scored_and_told(ser, writable_run, prompt, named):
    ended = ser("score", "-", "--run", writable_run.file, stdin=lines([{"prompt": prompt, "answer": "good"}]))
    assert (f"1 row with an empty {named}, the first in line 1" in ended.err) == (named is not None)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"prompt": "what", "chosen": "good"}', "rejected is missing"),
        ("{broken", "in double quotes at character"),
        ('{"prompt": "wh', "string starting at character"),
        ('["no object"]', "list instead of"),
        ("not json", "no JSON"),
    ],
)
def test_a_bad_row_is_named_by_its_line(ser, writable_run, bad, reason):
    ended = ser("score", "-", "--run", writable_run.file, stdin=lines(ROWS[:1]) + bad + "\n")
    assert ended.code == 11
    assert "standard input, line 2: " in ended.err
    assert reason in ended.err


def test_unknown_columns_are_refused_with_those_that_are_accepted(ser, writable_run):
    ended = ser("score", "-", "--run", writable_run.file, stdin='{"question": "?"}\n')
    assert ended.code == 11
    assert "'question'" in ended.err
    assert "prompt, answer" in ended.err


def test_a_run_without_a_model_is_refused(ser, writable_run):
    file = next(writable_run.folder.rglob("run.json"))
    run = json.loads(file.read_text())
    run["status"]["bestIteration"] = None
    file.write_text(json.dumps(run))
    ended = ser("score", "-", "--run", writable_run.file, stdin=lines(ROWS))
    assert (ended.code, "no reward model yet" in ended.err) == (10, True)


@pytest.fixture(params=["encoder", "decoder", "decoder of version 0.1.0", "chat", "custom"])
def run_of_any_model(request, tmp_path):
    """The decoders put a space before every text."""
    if request.param == "encoder":
        return request.getfixturevalue("writable_run")
    from ser_core.learn.compute.precision import Precision
    from ser_core.learn.reward.reward_model import load
    from ser_core.learn.text.reference_text import Form

    (tmp_path / "run").mkdir()
    earlier = request.param == "decoder of version 0.1.0"
    form = {"chat": Form.CHAT, "custom": Form.CHAT, "decoder": Form.ONE_TEXT}.get(request.param, Form.TWO_TEXTS)
    text = "a {prompt}\nb {answer}" if request.param == "custom" else None
    base = policy(tmp_path / "base", "always")
    model = load(base, Precision("cpu"), max_length=32, form=form, template_text=text)
    write_plain(model, tmp_path / "model")
    if earlier:
        (tmp_path / "model" / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text())
    return write_run(tmp_path / "run", tmp_path / "model")


def test_the_exported_model_scores_the_same_in_plain_transformers(ser, run_of_any_model, tmp_path):
    """The code in the model card is run as it stands there."""
    writable_run = run_of_any_model
    rows = [*ROWS, *LONG_ROWS]
    ours = results(ser("score", "-", "--run", writable_run.file, stdin=lines(rows)))
    folder = tmp_path / "exported"
    assert ser("export", writable_run.file, folder).out == f"{folder}\n"
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace('folder = "."', f"folder = {str(folder)!r}"), names)
    for row, result in zip(rows, ours, strict=True):
        assert names["score"](row["prompt"], row["chosen"]) == pytest.approx(result["score_1"], abs=1e-5)
        assert names["score"](row["prompt"], row["rejected"]) == pytest.approx(result["score_2"], abs=1e-5)
        first = names["probability_first_is_better"](row["prompt"], row["chosen"], row["rejected"])
        assert max(first, 1 - first) == pytest.approx(result["confidence"], abs=1e-5)
