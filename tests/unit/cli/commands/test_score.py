"""`ser score` on a small real model: what goes in, what comes out, what is refused."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from unit.conftest import write_run
from unit.learn.sentencepiece_like import policy

from ser_core.cli.commands.score import as_json

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


@pytest.mark.parametrize("name", ["\ud800", float("nan"), {"a": [1]}, 7, True])
def test_any_id_is_printed(ser, writable_run, name):
    (found,) = results(ser("score", "-", "--run", writable_run.file, stdin=json.dumps({**ROWS[0], "id": name}) + "\n"))
    assert str(found["id"]) == str(name)


@pytest.mark.parametrize("name", [b"\xff", datetime(2026, 1, 2, tzinfo=UTC), Decimal("1.5")])
def test_an_id_that_json_does_not_know_is_written_as_text(name):
    assert json.loads(as_json({"id": name})) == {"id": str(name)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"prompt": "what", "chosen": "good"}', "rejected is missing"),
        ("{broken", "in double quotes at character"),
        ('{"prompt": "wh', "string starting at character"),
        ('["no object"]', "list instead of"),
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
    from ser_core.learn.compute.reference_text import Form
    from ser_core.learn.reward.reward_model import load

    (tmp_path / "run").mkdir()
    earlier = request.param == "decoder of version 0.1.0"
    form = {"chat": Form.CHAT, "custom": Form.CHAT, "decoder": Form.ONE_TEXT}.get(request.param, Form.TWO_TEXTS)
    text = "a {prompt}\nb {answer}" if request.param == "custom" else None
    base = policy(tmp_path / "base", "always")
    model = load(base, Precision("cpu"), max_length=32, form=form, template_text=text)
    model.export(tmp_path / "model")
    if earlier:
        (tmp_path / "model" / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text())
    return write_run(tmp_path / "run", tmp_path / "model")


def test_the_exported_model_scores_the_same_in_plain_transformers(ser, run_of_any_model, tmp_path):
    """The code in the model card is run as it stands there."""
    writable_run = run_of_any_model
    ours = results(ser("score", "-", "--run", writable_run.file, stdin=lines(ROWS)))
    folder = tmp_path / "exported"
    assert ser("export", writable_run.file, folder).out == f"{folder}\n"
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace('folder = "."', f"folder = {str(folder)!r}"), names)
    for row, result in zip(ROWS, ours, strict=True):
        assert names["score"](row["prompt"], row["chosen"]) == pytest.approx(result["score_1"], abs=1e-5)
        assert names["score"](row["prompt"], row["rejected"]) == pytest.approx(result["score_2"], abs=1e-5)
        first = names["probability_first_is_better"](row["prompt"], row["chosen"], row["rejected"])
        assert max(first, 1 - first) == pytest.approx(result["confidence"], abs=1e-5)
