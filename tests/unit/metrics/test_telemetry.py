"""What the operator exports of the runs in its cache."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ser_core.metrics import ITERATIONS, METRICS, OPERATOR, RUNS
from ser_operator.facts.known_run import known_run
from ser_operator.pages.run_metrics import samples
from ser_operator.pages.run_page import MOST_ENDED
from ser_operator.pages.telemetry import Telemetry

ROOT = Path(__file__).parents[3]
STATUS = {
    "phase": "Running",
    "stage": "retrain",
    "iteration": 2,
    "bestIteration": 1,
    "rewardModel": {"uri": "s3://b/m", "manifestSHA256": "0" * 64, "accuracy": 0.72, "cutFraction": 0.125},
    "learningStatus": "Status1",
    "gpuHours": 1.5,
    "startedAt": "2026-01-31T12:00:00Z",
    "finishedAt": "2026-01-31T13:00:00Z",
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "Running"},
        {"type": "Reconciling", "status": "True", "reason": "Running"},
    ],
    "stored": {"rewardModels": 2000, "records": 30},
    "progress": {"percent": 40, "step": 4, "total": 10, "unit": "pairs", "updatedAt": "2026-01-31T12:30:00Z"},
    "policy": {"uri": "s3://b/m", "manifestSHA256": "0", "score": 1.5, "baselineScore": 0.5, "kl": 3.0, "steps": 30},
    "controls": [{"control": "seedOnly", "accuracy": 0.6, "accuracyLow": 0.5, "accuracyHigh": 0.7}],
    "iterations": [
        {"iteration": 0, "learningStatus": "Seed", "devAccuracy": 0.7, "accuracy": 0.69, "accuracyLow": 0.64, "accuracyHigh": 0.74},
        {
            "iteration": 1,
            "learningStatus": "Status1",
            "labeled": 100,
            "kept": 60,
            "keptFraction": 0.6,
            "agreement": 0.9,
            "devAccuracy": 0.75,
            "devLoss": 0.5,
            "lossGain": 0.02,
            "accuracy": 0.72,
            "accuracyLow": 0.67,
            "accuracyHigh": 0.77,
            "gain": 0.05,
            "threshold": 0.8,
            "monitors": {"score": 0.5, "margin": 1.5, "confidence": 0.9, "right": 0.8, "easier": 0.75, "sameLabels": 0.7},
            "temperature": 1.3,
            "repeated": 2,
            "startedAt": "2026-01-31T12:10:00Z",
            "finishedAt": "2026-01-31T12:20:00Z",
        },
    ],
    "stages": [
        {"iteration": 2, "stage": "retrain", "attempt": 1, "outcome": "Failed", "reason": "StoreUnavailable"},
        {"iteration": 2, "stage": "retrain", "attempt": 0, "outcome": "Failed", "charged": True, "reason": "StageHung"},
        {"iteration": 2, "stage": "retrain", "attempt": 0, "outcome": "Failed", "charged": True, "forgiven": True, "reason": "StageHung"},
        {"iteration": 2, "stage": "retrain", "attempt": 2, "outcome": "Interrupted", "reason": "Interrupted"},
        {"iteration": 2, "stage": "retrain", "attempt": 3},
    ],
}


def run(name="hh", status=STATUS):
    metadata = {"namespace": "team", "name": name, "creationTimestamp": "2026-01-31T11:59:00Z"}
    spec = {"rewardModel": {"base": "hf://org/model"}, "loop": {"maxIterations": 10}}
    return {"metadata": metadata, "spec": spec, "status": status}


@pytest.fixture
def runs():
    return [run()]


@pytest.fixture
def telemetry(runs):
    known = {}  # as in the cache, one object for each version of a run
    current = lambda: [known.setdefault(id(body), (body, known_run(body)))[1] for body in runs]  # noqa: E731
    return Telemetry(lambda: 3, current, lambda: {"SERRun": len(runs)})


def exported(telemetry):
    """Value by name and labels."""
    families = text_string_to_metric_families(telemetry.exposition().decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def of_run(name, **labels):
    return name, *sorted({"namespace": "team", "run": "hh", **labels}.items())


def test_a_run_tells_where_it_is(telemetry):
    values = exported(telemetry)

    assert values[of_run("ser_run_info", base_model="hf://org/model", queue="")] == 1
    assert values[of_run("ser_run_phase", phase="Running")] == 1
    assert values[of_run("ser_run_condition", condition="Ready")] == 0
    assert values[of_run("ser_run_condition", condition="Reconciling")] == 1
    assert values[of_run("ser_run_progress_ratio")] == 0.4
    assert values[of_run("ser_run_cut_ratio")] == 0.125
    assert values[of_run("ser_run_gpu_seconds_total")] == 5400
    assert values[of_run("ser_run_finished_timestamp_seconds")] - values[of_run("ser_run_started_timestamp_seconds")] == 3600


def test_retries_are_told_with_their_reasons(telemetry):
    values = exported(telemetry)

    assert values[of_run("ser_run_stage_attempt", stage="retrain")] == 3
    assert values[of_run("ser_run_stage_charged_attempts", stage="retrain")] == 1
    assert values[of_run("ser_run_retries_limit")] == 3
    assert values[of_run("ser_run_failed_attempts", stage="retrain", reason="StoreUnavailable")] == 1


@pytest.mark.parametrize(("phase", "ready", "reason"), [("Waiting", "StoreFull", "StoreFull"), ("Running", "Running", "Interrupted")])
def test_a_run_that_waits_tells_for_how_long_and_for_what(runs, telemetry, phase, ready, reason):
    since = datetime.now(UTC) - timedelta(minutes=31)
    conditions = [{"type": "Ready", "status": "False", "reason": ready}]
    waiting = {**STATUS, "phase": phase, "waitingSince": f"{since:%Y-%m-%dT%H:%M:%SZ}", "conditions": conditions}
    runs[:] = [run("hh", {key: value for key, value in waiting.items() if key != "finishedAt"})]

    first = exported(telemetry)[of_run("ser_run_waiting_seconds", reason=reason)]

    assert 31 * 60 <= first < 32 * 60
    assert exported(telemetry)[of_run("ser_run_waiting_seconds", reason=reason)] > first


def test_every_loop_tells_its_evolution(telemetry):
    values = exported(telemetry)

    assert values[of_run("ser_iteration_accuracy_ratio", iteration="1", split="dev")] == 0.75
    assert values[of_run("ser_iteration_accuracy_low_ratio", iteration="1", split="heldout")] == 0.67
    assert values[of_run("ser_iteration_pairs", iteration="1", verdict="kept")] == 60
    assert values[of_run("ser_iteration_pairs", iteration="1", verdict="dropped")] == 40
    assert values[of_run("ser_iteration_margin", iteration="1")] == 1.5
    assert values[of_run("ser_iteration_loss_gain_nats", iteration="1")] == 0.02
    assert values[of_run("ser_iteration_easier_ratio", iteration="1")] == 0.75
    assert [values[of_run("ser_iteration_repeated_trainings", iteration=loop)] for loop in "01"] == [0, 2]
    assert values[of_run("ser_iteration_collapsed", iteration="1")] == 0
    assert of_run("ser_iteration_same_labels_ratio", iteration="0") not in values, "the seed model labels nothing"
    assert values[of_run("ser_iteration_duration_seconds", iteration="1")] == 600
    assert of_run("ser_iteration_pairs", iteration="0", verdict="kept") not in values, "the seed model labels nothing: no series is no zero"


@pytest.mark.parametrize(
    ("accuracies", "falls"),
    [([], 0), ([0.7], 0), ([0.7, 0.8], 0), ([0.7, 0.7], 0), ([0.7, 0.6], 1), ([0.7, 0.6, 0.5], 2), ([0.7, 0.6, 0.65], 0)],
)
def test_falls_in_a_row_are_counted(telemetry, runs, accuracies, falls):
    rows = [{"iteration": number, "learningStatus": "Status1", "devAccuracy": value} for number, value in enumerate(accuracies)]
    runs[:] = [run("hh", {"iterations": rows})]

    assert exported(telemetry)[of_run("ser_run_accuracy_falls")] == falls


def test_a_loop_of_cross_fitted_models_falls_by_log_loss(telemetry, runs):
    gains = [None, -0.01, -0.03, -0.03]
    rows = [
        {
            "iteration": number,
            "learningStatus": "Status1",
            "devAccuracy": 0.7 - number / 100,
            "lossGain": gain,
            "lossGainError": gain and 0.02,
        }
        for number, gain in enumerate(gains)
    ]
    runs[:] = [run("hh", {"iterations": rows})]

    assert exported(telemetry)[of_run("ser_run_accuracy_falls")] == 2


def test_a_run_is_rendered_anew_when_it_has_changed_and_only_then(telemetry, runs, monkeypatch):
    runs.append(run("other"))
    before = exported(telemetry)
    runs[0] = run("hh", {**STATUS, "gpuHours": 2})
    rendered = []
    monkeypatch.setattr("ser_operator.pages.run_page.samples", lambda body: rendered.append(body) or samples(body))

    after = exported(telemetry)

    assert rendered == [runs[0]]
    assert {key for key in before if before[key] != after.get(key)} >= {of_run("ser_run_gpu_seconds_total")}
    assert after[of_run("ser_run_gpu_seconds_total")] == 7200


def test_a_deleted_run_vanishes(telemetry, runs):
    assert any("hh" in str(key) for key in exported(telemetry))

    runs.clear()

    assert not any("hh" in str(key) or key[0] == "ser_operator_runs" for key in exported(telemetry))


@pytest.mark.parametrize("status", [None, {}, {"phase": "OfALaterVersion"}, {"iterations": 7}, {"startedAt": "yesterday"}])
def test_a_run_without_a_readable_status_hides_no_other(telemetry, runs, status):
    runs.append(run("odd", status))

    values = exported(telemetry)

    assert of_run("ser_run_phase", run="odd", phase=(status or {}).get("phase", "Pending")) in values
    assert of_run("ser_run_phase", phase="Running") in values


def test_runs_are_counted_by_phase(telemetry, runs):
    runs += [run("two"), run("three", {"phase": "Failed"})]

    values = exported(telemetry)

    assert (values["ser_operator_runs", ("phase", "Running")], values["ser_operator_runs", ("phase", "Failed")]) == (2, 1)


def test_names_with_any_text_are_escaped(telemetry, runs):
    runs[0]["spec"]["rewardModel"]["base"] = 's3://b/"\\\n'

    assert exported(telemetry)[of_run("ser_run_info", base_model='s3://b/"\\\n', queue="")] == 1


def test_the_operator_tells_of_its_own_work(telemetry, runs):
    runs.append(run("waits", {"phase": "Waiting", "waitingSince": "2026-01-31T12:00:00Z"}))
    telemetry.watched("Pod")
    telemetry.reconciled("ok", 0.01)
    telemetry.waited(0.5)
    telemetry.requested("PATCH", 409, 0.02)
    telemetry.drifted("Job", 2)
    telemetry.resynced()

    values = exported(telemetry)

    assert values[("ser_operator_api_requests_total", ("code", "409"), ("verb", "PATCH"))] == 1
    assert values[("ser_operator_queue_latency_seconds_sum",)] == 0.5
    assert values[("ser_operator_resync_changes_total", ("kind", "Job"))] == 2
    assert values[("ser_operator_cached_objects", ("kind", "SERRun"))] == 2
    names = {str(key[0]).removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for key in values}
    assert {metric.name for group in (RUNS, ITERATIONS, OPERATOR) for metric in group.metrics} <= names


def test_waits_are_told_apart_up_to_the_highest_threshold_that_the_chart_takes(telemetry):
    schema = json.loads((ROOT / "charts/ser-operator/values.schema.json").read_text())
    bounds = [float(dict(labels)["le"]) for name, *labels in exported(telemetry) if name == "ser_operator_queue_latency_seconds_bucket"]

    assert sorted(bounds)[-2] == schema["$defs"]["alertFromWait"]["properties"]["threshold"]["exclusiveMaximum"]


def test_an_operator_that_has_listed_nothing_yet_is_as_old_as_its_start(telemetry):
    assert time.time() - exported(telemetry)["ser_operator_resync_last_success_timestamp_seconds",] < 60


def test_the_series_have_the_type_and_the_labels_of_the_table(telemetry):
    telemetry.reconciled("ok", 0.01)
    for family in text_string_to_metric_families(telemetry.exposition().decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if not name.startswith("process_"):
            assert family.type == METRICS[name].type
            assert all(set(sample.labels) - {"le"} == set(METRICS[name].labels) for sample in family.samples)


def ended(name, ago, now, phase="Completed"):
    return run(name, {**STATUS, "phase": phase, "finishedAt": f"{now - ago:%Y-%m-%dT%H:%M:%SZ}"})


def test_a_run_that_ended_long_ago_is_counted_and_has_no_series(telemetry, runs):
    now = datetime.now(UTC)
    runs += [ended("lately", timedelta(days=6), now), ended("long-ago", timedelta(days=8), now)]

    values = exported(telemetry)

    assert values["ser_operator_runs", ("phase", "Completed")] == 2
    assert {dict(labels)["run"] for name, *labels in values if name == "ser_run_phase"} == {"hh", "lately"}


def test_of_many_that_ended_lately_the_last_have_series(telemetry, runs):
    now = datetime.now(UTC)
    runs += [ended(f"r{number}", timedelta(minutes=number), now) for number in range(MOST_ENDED + 5)]

    told = {dict(labels)["run"] for name, *labels in exported(telemetry) if name == "ser_run_phase"}

    assert told == {"hh", *(f"r{number}" for number in range(MOST_ENDED))}


def test_a_run_that_failed_keeps_its_series_while_many_others_complete(telemetry, runs):
    now = datetime.now(UTC)
    runs += [ended(f"r{number}", timedelta(minutes=number), now) for number in range(MOST_ENDED)]
    runs += [ended("bad", timedelta(days=6), now, "Failed")]

    assert "bad" in {dict(labels)["run"] for name, *labels in exported(telemetry) if name == "ser_run_phase"}


def test_a_run_of_ten_loops_has_as_many_series_as_the_manual_says(telemetry, runs):
    last = STATUS["iterations"][1]
    runs[:] = [run("hh", {**STATUS, "iterations": [STATUS["iterations"][0], *({**last, "iteration": number} for number in range(1, 11))]})]

    assert 230 <= sum(("run", "hh") in key for key in exported(telemetry)) <= 270
