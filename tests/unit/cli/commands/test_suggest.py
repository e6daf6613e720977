"""`ser suggest`: from a stored run to the data of the next one, and back through `prepare`."""

import json

import pytest
import yaml
from unit.conftest import Writer, retrain_metrics

from ser_core.api.serrun import SERRun
from ser_core.api.stage import FilterMetrics, LabelMetrics, PrepareMetrics, RunIdentity
from ser_core.api.status import LearningStatus, StageKind
from ser_core.data.preparing.preparation import inspect
from ser_core.data.reading.locations import Access
from ser_core.data.tables import Decision, FoldScores, LabeledPair, PairScores, PairWeight, PoolPair, TiedPair, write_table
from ser_core.errors import DataError
from ser_core.report.ledger import Ledger
from ser_core.store.objects.connect import connect
from ser_core.store.runs.run_object import save_run

POOL = 40
LOOKS_LIKE_A_MESSAGE = '[{"role": "user", "content": "q"}]'


def labeled(side, count):
    """Pairs; an answer of the first looks like a message."""
    right = [LOOKS_LIKE_A_MESSAGE, *(f"right {side} {n}" for n in range(1, count))]
    return [LabeledPair(f"{side}{n}", f"{side} question {n}?", right[n], f"wrong {side} {n}", "here") for n in range(count)]


@pytest.fixture
def run(tmp_path):
    """A run whose last loop is surest of the last pairs; its fold models disagree about p07 alone, and read the answers of p09 alike."""
    spec = {
        "rewardModel": {"base": "hf://organisation/tiny"},
        "data": {"source": {"uri": f"file://{tmp_path}/pairs.jsonl", "splitBy": "module"}, "maxDroppedFraction": 0.05},
        "storage": {"uri": f"file://{tmp_path}/store"},
    }
    document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "first"}, "spec": spec}
    file = tmp_path / "serrun.yaml"
    file.write_text(yaml.safe_dump(document))
    made = SERRun.model_validate({**document, "metadata": {"name": "first", "uid": "0123456789abcdef"}})
    store = connect(made.spec.storage)
    write = Writer(store, RunIdentity(namespace="default", name="first", uid=made.metadata.uid), tmp_path / "parts")
    write.folder.mkdir()
    table = lambda row, rows: lambda path: write_table(path, row, rows)  # noqa: E731
    names = [f"p{number:02}" for number in range(POOL)]
    sides = {side: table(LabeledPair, labeled(side, count)) for side, count in (("seed", 30), ("dev", 10), ("heldout", 20))}
    pool = [PoolPair(name, f"open question {name}?", f"one {name}", f"two {name}", "there") for name in names]
    metrics = PrepareMetrics(found="jsonl", rows=100, seed=30, dev=10, pool=POOL, heldout=20, hidden_labels=False)
    files = {f"{side}.parquet": content for side, content in sides.items()}
    ties = [TiedPair(f"tie{n}", f"even question {n}?", f"even {n}", f"odd {n}", "seed") for n in range(2)]
    files |= {"ties.parquet": table(TiedPair, ties), "weights.parquet": table(PairWeight, [PairWeight("tie0", 2.0)])}
    write.stage(StageKind.PREPARE, 0, metrics, {**files, "pool.parquet": table(PoolPair, pool)})
    write.stage(StageKind.RETRAIN, 0, retrain_metrics(0.5), {})
    folds = [FoldScores(name, fold, {"p07": 1.0 if fold else -1.0, "p09": 0.0}.get(name, 1.0), 0.0) for fold in range(2) for name in names]
    scores = table(PairScores, [PairScores(name, 1.0, 0.0, 2, 2) for name in names])
    write.stage(
        StageKind.LABEL,
        1,
        LabelMetrics(labeled=POOL, truncated=0),
        {"labels.parquet": scores, "fold_labels.parquet": table(FoldScores, folds)},
    )
    decided = [
        Decision(name, float(name != "p09"), 0.0, 1, 0.6 + number / 100, 1, True, 1.0, 1.0, None) for number, name in enumerate(names)
    ]
    kept = FilterMetrics(learning_status=LearningStatus.STATUS_1, labeled=POOL, status1=0, status2=0, kept=POOL, kept_fraction=1.0)
    write.stage(StageKind.FILTER, 1, kept, {"decisions.parquet": table(Decision, decided)})
    save_run(store, made)
    return file


def prepared(run):
    """What `prepare` would make of the data of a run."""
    return inspect(run.spec.data, 0, Access(run.spec.storage, run.spec.hub)).metrics


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_what_is_least_sure_is_to_be_labelled_and_nothing_says_what_the_models_prefer(ser, run, tmp_path):
    ended = ser("suggest", run, "--pairs", 5, "-o", tmp_path / "next")
    assert ended.code == 0, ended.err
    asked = rows(tmp_path / "next/seed/to-label.jsonl")
    assert asked[0] == {"prompt": "open question p07?", "answer_1": "one p07", "answer_2": "two p07", "source": "there", "better": ""}
    assert {row["prompt"] for row in asked} == {f"open question p{number:02}?" for number in (7, 0, 1, 2, 3)}
    assert len(rows(tmp_path / "next/unlabeled.jsonl")) == POOL
    assert (len(rows(tmp_path / "next/seed/labeled.jsonl")), len(rows(tmp_path / "next/heldout.jsonl"))) == (40, 20)
    assert {row["better"] for row in rows(tmp_path / "next/seed/ties.jsonl")} == {"tie"}
    assert all(
        told in ended.err for told in ("5 pairs to label", "42 pairs labelled before", "flatters", "weights of the pairs are left out")
    )


def test_what_it_prints_is_the_data_of_a_run_that_learns_the_new_labels(ser, run, tmp_path):
    printed = yaml.safe_load(ser("suggest", run, "--pairs", 5, "-o", tmp_path / "next").out)
    asked = tmp_path / "next/seed/to-label.jsonl"
    asked.write_text("".join(json.dumps({**row, "better": (1, 2, "tie")[number % 3]}) + "\n" for number, row in enumerate(rows(asked))))
    document = yaml.safe_load(run.read_text())
    follower = SERRun.model_validate({**document, "metadata": {"name": "second"}, "spec": {**document["spec"], **printed}})
    metrics = prepared(follower)
    assert (metrics.seed + metrics.dev, metrics.pool, metrics.heldout, metrics.dropped) == (44, POOL - 5, 20, {"Duplicate": 5})
    assert follower.spec.data.max_dropped_fraction == 0.05


def test_a_control_that_the_new_run_cannot_have_is_told(ser, run, tmp_path):
    quiet = ser("suggest", run, "--pairs", 5, "-o", tmp_path / "first").err
    saved = next(tmp_path.rglob("run.json"))
    document = json.loads(saved.read_text())
    document["spec"]["loop"] = {"controls": ["full"]}
    saved.write_text(json.dumps(document))
    told = ser("suggest", run, "--pairs", 5, "-o", tmp_path / "next").err
    assert ("without full in loop.controls" in quiet, "without full in loop.controls" in told) == (False, True)


def test_a_row_that_nobody_filled_in_is_told_by_its_line(ser, run, tmp_path):
    printed = yaml.safe_load(ser("suggest", run, "--pairs", 5, "-o", tmp_path / "next").out)
    document = yaml.safe_load(run.read_text())
    follower = SERRun.model_validate({**document, "spec": {**document["spec"], **printed}})
    with pytest.raises(DataError) as caught:
        prepared(follower)
    assert "to-label.jsonl, line 1" in str(caught.value) and "better is empty: write 1, 2 or tie" in str(caught.value)
    asked = tmp_path / "next/seed/to-label.jsonl"
    lines = [json.dumps({**row, "better": number % 2 + 1 if number else ""}) + "\n" for number, row in enumerate(rows(asked))]
    asked.write_text("".join(lines))
    metrics = prepared(follower)
    assert metrics.dropped["BadLabel"] == 1 and any("line 1" in told for told in metrics.warnings)
    assert metrics.pool == POOL - 4
    asked.write_text("".join(lines[2:]))
    assert prepared(follower).pool == POOL - 3


def test_a_pool_of_which_too_little_would_be_left_is_refused(ser, run, tmp_path):
    for wanted in (POOL, POOL - 1):
        ended = ser("suggest", run, "--pairs", wanted, "-o", tmp_path / "next")
        assert ended.code == 10 and "name fewer --pairs" in ended.err and not (tmp_path / "next").exists()
    assert ser("suggest", run, "--pairs", POOL - 2, "-o", tmp_path / "next").code == 0


def test_before_a_loop_has_labelled_there_is_nothing_to_suggest(ser, stored_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Ledger, "filters", ())
    ended = ser("suggest", stored_run.file, "-o", tmp_path / "next")
    assert (ended.code, ended.out) == (10, "")
    assert "has labelled no pair of its pool yet" in ended.err and not (tmp_path / "next").exists()


def test_a_folder_with_something_in_it_is_left_alone(ser, run, tmp_path):
    (tmp_path / "next").mkdir()
    (tmp_path / "next/mine").write_text("")
    assert "is not empty" in ser("suggest", run, "-o", tmp_path / "next").err
