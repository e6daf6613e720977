"""Two runs beside each other: what differs, and a test only where it may be made."""

import json
from dataclasses import replace

import pytest
import yaml
from unit.cli.views.test_terminal_output import printed
from unit.conftest import write_run

from ser_core.api.status import PolicyStatus
from ser_core.cli.access.comparison import compare_runs, spec_differences
from ser_core.cli.access.stored_run import StoredRun
from ser_core.cli.views.diff_view import diff_view
from ser_core.data.tables import EvaluatedPair, read_table


@pytest.fixture
def run(stored_run):
    return StoredRun(stored_run.run, stored_run.run.spec.storage, "small")


def changed(run, **spec):
    return replace(run, run=run.run.model_copy(update={"spec": run.run.spec.model_copy(update=spec)}))


def test_a_run_equals_itself(ser, stored_run):
    shown = ser("diff", stored_run.file, stored_run.file).out
    assert "the specs are equal" in shown
    assert {line.split()[-1] for line in shown.splitlines() if line.startswith(("seed ", "1 ", "2 ", "best"))} == {"1.000"}


def test_only_fields_that_differ_are_shown_with_both_values(run):
    other = changed(run, training=run.run.spec.training.model_copy(update={"seed": 5}), queue_name="fast")
    found = {one.field: (one.a, one.b) for one in spec_differences(run.run, other.run)}
    assert found == {"training.seed": (0, 5), "queueName": (None, "fast")}


def test_the_best_models_are_tested_on_the_same_pairs(run):
    status = run.run.status.model_copy(update={"best_iteration": 0})
    other = replace(run, run=run.run.model_copy(update={"status": status}))
    best = compare_runs(run, other).loops[-1]
    assert (best.name, best.a.iteration, best.b.iteration) == ("best", 2, 0)
    assert best.difference.p_value < 0.001
    assert best.difference.low <= best.difference.mean <= best.difference.high < 0


def test_groups_of_held_out_pairs_are_counted(run, monkeypatch):
    other = replace(run, run=run.run.model_copy(update={"status": run.run.status.model_copy(update={"best_iteration": 0})}))
    monkeypatch.setattr("ser_core.report.heldout.read_groups", lambda *_: {f"h{row}": f"g{row // 40}" for row in range(200)})
    compared = compare_runs(run, other)
    assert (compared.loops[-1].difference.groups, compared.loops[-1].difference.p_value) == (5, pytest.approx(2 / 2**5))
    where = "p: signs of the differences flipped in all ways, 200 held-out pairs in 5 groups"
    assert compared.note == f"{where}; not corrected for several comparisons; of fewer than 10 groups it is not to be trusted"


def test_the_larger_groups_count_whichever_run_has_them(run, monkeypatch):
    small, large = ({f"h{row}": f"g{row // size}" for row in range(200)} for size in (2, 10))
    for order in ((small, large), (large, small), (None, large)):
        groups = iter(order)
        monkeypatch.setattr("ser_core.report.heldout.read_groups", lambda *_, groups=groups: next(groups))
        assert compare_runs(run, run).loops[-1].difference.groups == 20


def test_pairs_that_were_labelled_anew_are_not_compared_with_what_they_were(run, monkeypatch):
    answers = iter(({"h0": ("a", "b"), "h1": ("a", "b")}, {"h0": ("b", "a"), "h1": ("a", "b")}))
    monkeypatch.setattr("ser_core.report.heldout.read_answers", lambda *_: next(answers))
    compared = compare_runs(run, run)
    assert compared.note == "no test, and accuracies by different labels: 1 of 200 held-out pairs are labelled the other way round"
    assert {loop.difference for loop in compared.loops} == {None}


def test_runs_on_other_pairs_are_not_tested(run, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    pairs = read_table_of(run)
    monkeypatch.setattr("unit.conftest.heldout_pairs", lambda quality: [replace(pair, id=f"other-{pair.id}") for pair in pairs])
    other = write_run(tmp_path, tmp_path / "model")
    compared = compare_runs(run, StoredRun(other.run, other.run.spec.storage, "other"))
    assert compared.note == "no test, and accuracies of different data: the runs share 0 of 200 and 200 held-out pairs"
    assert {loop.difference for loop in compared.loops} == {None}
    assert compared.budgets[0] is not None


def read_table_of(run):
    path = next(path for path in run.store._root.rglob("heldout_scores.parquet*"))
    return read_table(path, EvaluatedPair)


def test_without_a_way_to_a_store_the_status_is_compared(run, tmp_path):
    (tmp_path / "file").write_text("")
    storage = run.storage.model_copy(update={"uri": f"file://{tmp_path}/file"})
    compared = compare_runs(run, StoredRun(run.run, storage, "hh -n lab"))
    assert compared.note.startswith("no test and no label budget: the store of hh -n lab cannot be read: ")
    assert [loop.difference for loop in compared.loops] == [None] * 4
    assert "0.820" in printed(diff_view(compared), 80)


def test_policies_stand_beside_each_other(run):
    policy = PolicyStatus(uri="s3://b/x", manifestSHA256="0", score=1.5, baseline_score=0.25, kl=9.25, steps=300, stopped="LengthExplosion")
    other = replace(run, run=run.run.model_copy(update={"status": run.run.status.model_copy(update={"policy": policy})}))
    shown = printed(diff_view(compare_runs(run, other)), 80)
    assert "score after PPO    –   1.500" in shown
    assert "LengthExplosion" in shown


def test_for_machines_everything_is_there(ser, stored_run):
    file = stored_run.file
    shown = json.loads(ser("diff", file, file, "-o", "json").out)
    assert yaml.safe_load(ser("diff", file, file, "-o", "yaml").out) == shown
    assert [loop["name"] for loop in shown["loops"]] == ["seed", "1", "2", "best"]
    assert shown["labelBudget"][0]["seed"] == 90
    assert shown["loops"][1]["a"]["accuracy"] == shown["loops"][1]["b"]["accuracy"]
    assert {name: shown["loops"][1][name] for name in ("difference", "low", "high", "pValue", "groups")} == {
        **dict.fromkeys(("difference", "low", "high"), 0.0),
        **{"pValue": 1.0, "groups": 200},
    }


def test_a_run_of_this_machine_beside_one_on_a_cluster(ser, stored_run, api):
    api.put_run(stored_run.run, "default")
    shown = ser("diff", stored_run.file, "small", "-n", "default")
    assert (shown.code, shown.err) == (0, "")
    assert "the specs are equal" in shown.out
