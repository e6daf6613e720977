"""`ser suggest`: from a stored run to the data of the next one, and back through `prepare`."""

import json
import re

import pytest
import yaml
from unit.conftest import Writer, retrain_metrics

from ser_core.api.serrun import SERRun
from ser_core.api.spec.data import DataSpec
from ser_core.api.stage import FilterMetrics, LabelMetrics, PrepareMetrics, RunIdentity
from ser_core.api.status import LearningStatus, StageKind
from ser_core.data.preparing.pairs.spool import read_spool
from ser_core.data.preparing.preparation import inspect, prepare_data
from ser_core.data.preparing.sides import write_sides
from ser_core.data.reading.locations import Access
from ser_core.data.tables import Decision, FoldScores, LabeledPair, PairScores, PairWeight, PoolPair, TiedPair, read_table, write_table
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
def started(tmp_path):
    """Store a run with these data of a file, and get its file and what writes its stages."""

    def start(data):
        spec = {"rewardModel": {"base": "hf://organisation/tiny"}, "data": data, "storage": {"uri": f"file://{tmp_path}/store"}}
        document = {"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "first"}, "spec": spec}
        file = tmp_path / "serrun.yaml"
        file.write_text(yaml.safe_dump(document))
        made = SERRun.model_validate({**document, "metadata": {"name": "first", "uid": "0123456789abcdef"}})
        store = connect(made.spec.storage)
        save_run(store, made)
        write = Writer(store, RunIdentity(namespace="default", name="first", uid=made.metadata.uid), tmp_path / "parts")
        write.folder.mkdir()
        return file, write

    return start


def table(row, rows):
    """What writes a table."""
    return lambda path: write_table(path, row, rows)


def label(write, names, confidence, folds):
    """A first loop that has labelled the pool; the answers of p09 are read alike."""
    write.stage(StageKind.RETRAIN, 0, retrain_metrics(0.5), {})
    scores = {"labels.parquet": table(PairScores, [PairScores(name, 1.0, 0.0, 2, 2) for name in names])}
    write.stage(
        StageKind.LABEL, 1, LabelMetrics(labeled=len(names), truncated=0), {**scores, "fold_labels.parquet": table(FoldScores, folds)}
    )
    decided = [Decision(name, float(name != "p09"), 0.0, 1, sure, 1, True, 1.0, 1.0, None) for name, sure in confidence.items()]
    counts = {"labeled": len(names), "status1": 0, "status2": 0, "kept": len(names), "kept_fraction": 1.0}
    kept = FilterMetrics(learning_status=LearningStatus.STATUS_1, **counts)
    write.stage(StageKind.FILTER, 1, kept, {"decisions.parquet": table(Decision, decided)})


@pytest.fixture
def run(started, tmp_path):
    """A run whose last loop is surest of the last pairs; its fold models disagree about p07 alone, and read the answers of p09 alike."""
    source = {"uri": f"file://{tmp_path}/pairs.jsonl", "splitBy": "module"}
    file, write = started({"source": source, "maxDroppedFraction": 0.05})
    names = [f"p{number:02}" for number in range(POOL)]
    sides = {side: table(LabeledPair, labeled(side, count)) for side, count in (("seed", 30), ("dev", 10), ("heldout", 20))}
    pool = [PoolPair(name, f"open question {name}?", f"one {name}", f"two {name}", "there") for name in names]
    metrics = PrepareMetrics(found="jsonl", rows=100, seed=30, dev=10, pool=POOL, heldout=20, hidden_labels=False)
    files = {f"{side}.parquet": content for side, content in sides.items()}
    ties = [TiedPair(f"tie{n}", f"even question {n}?", f"even {n}", f"odd {n}", "seed") for n in range(2)]
    files |= {"ties.parquet": table(TiedPair, ties), "weights.parquet": table(PairWeight, [PairWeight("tie0", 2.0)])}
    write.stage(StageKind.PREPARE, 0, metrics, {**files, "pool.parquet": table(PoolPair, pool)})
    folds = [FoldScores(name, fold, {"p07": 1.0 if fold else -1.0, "p09": 0.0}.get(name, 1.0), 0.0) for fold in range(2) for name in names]
    label(write, names, {name: 0.6 + number / 100 for number, name in enumerate(names)}, folds)
    return file


def made(folder):
    folder.mkdir()
    return folder


def prepared(run):
    """What `prepare` would make of the data of a run."""
    return inspect(run.spec.data, 0, Access(run.spec.storage, run.spec.hub), turns=False).metrics


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


def filled_in(file):
    file.write_text("".join(json.dumps({**row, "better": 1 + number % 2}) + "\n" for number, row in enumerate(rows(file))))


@pytest.mark.parametrize(("split_by", "then", "column"), [("topic", "group", {"group"}), ("firstTurn", "firstTurn", set())])
def test_what_the_run_has_held_together_the_new_run_holds_together(ser, started, tmp_path, split_by, then, column):
    pairs = [{"prompt": f"Human: start {n % 25}\n\nAssistant: yes\n\nHuman: {n}", "topic": n % 25} for n in range(200)]
    lines = [json.dumps({**pair, "chosen": f"right {n}", "rejected": f"wrong {n}"}) for n, pair in enumerate(pairs)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    file, write = started({"source": {"uri": f"file://{tmp_path}/pairs.jsonl", "splitBy": split_by, "seedFraction": 0.3}})
    spec = SERRun.model_validate(yaml.safe_load(file.read_text())).spec
    first = prepare_data(spec.data, 0, Access(spec.storage, spec.hub), made(tmp_path / "first"), lambda *_: None, turns=False)
    files = write_sides(first, 0, made(tmp_path / "sides"))
    write.stage(StageKind.PREPARE, 0, first.metrics, {name: path.read_bytes() for name, path in files.items()})
    names = [pair.id for pair in read_table(files["pool.parquet"], PoolPair)]
    label(write, names, dict.fromkeys(names, 0.6), [FoldScores(name, 0, 1.0, 0.0) for name in names])

    ended = ser("suggest", file, "--pairs", 9, "-o", tmp_path / "next")
    printed = yaml.safe_load(ended.out)
    assert (printed["data"]["splitBy"], "flatters" in ended.err) == (then, False)
    written = [tmp_path / "next" / name for name in ("seed/to-label.jsonl", "seed/labeled.jsonl", "unlabeled.jsonl", "heldout.jsonl")]
    assert all(row.keys() & {"group", "topic"} == column for path in written for row in rows(path))
    filled_in(written[0])
    data = DataSpec.model_validate(printed["data"])
    second = prepare_data(data, 0, Access(spec.storage, spec.hub), made(tmp_path / "second"), lambda *_: None, turns=False)
    known = [one for side in second.sides.values() for one in read_spool(second.spool, side) if one.id in second.groups]
    started_with = {(second.groups[one.id], re.search(r"start \d+", one.prompt)[0]) for one in known}
    assert len(known) > 9 + first.metrics.seed + first.metrics.dev + first.metrics.heldout
    assert len(started_with) == len({group for group, _ in started_with}) == len({start for _, start in started_with})
    assert not [told for told in second.metrics.warnings if "data.heldout also in" in told]


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
