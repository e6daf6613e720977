"""The names follow Prometheus' rules, and the manual is the table's."""

import re
from pathlib import Path

import pytest

from generate import metrics_text
from ser_core.metrics import GROUPS, METRICS

ROOT = Path(__file__).parents[3]
UNITS = ("seconds", "bytes", "ratio", "total", "info", "nats", "tokens")
WITHOUT_UNIT = {
    *("ser_run_phase", "ser_run_condition", "ser_run_stage", "ser_run_learning_status"),  # states
    *("ser_run_iteration", "ser_run_max_iterations", "ser_run_best_iteration", "ser_run_stage_attempt", "ser_stage_attempt"),  # ordinals
    *(
        "ser_run_stage_charged_attempts",
        "ser_run_failed_attempts",
        "ser_iteration_pairs",
        "ser_operator_runs",
        "ser_operator_refused_namespaces",
    ),  # numbers of what they name
    *("ser_operator_queue_depth", "ser_operator_cached_objects", "ser_stage_work_done", "ser_stage_work_expected"),
    *("ser_iteration_score", "ser_iteration_margin", "ser_iteration_repeated_trainings", "ser_iteration_collapsed"),
    *("ser_iteration_dev_loss", "ser_iteration_temperature", "ser_train_loss", "ser_train_gradient_norm", "ser_train_learning_rate"),
    *("ser_run_policy_score", "ser_run_policy_baseline_score", "ser_run_policy_steps", "ser_policy_reward", "ser_policy_score"),
    *("ser_policy_witness_score", "ser_policy_kl_coefficient", "ser_policy_loss", "ser_policy_value_loss", "ser_policy_gradient_norm"),
    *("ser_policy_critic_gradient_norm", "ser_run_accuracy_falls", "ser_run_retries_limit"),
}
LABELS = {
    *("namespace", "run", "iteration", "stage", "phase", "condition", "learning_status", "base_model", "queue", "reason", "control"),
    *("split", "verdict", "unit", "device", "use", "version", "result", "verb", "code", "kind"),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_has_a_name_a_unit_and_a_help_as_prometheus_wants_them(metric):
    assert re.fullmatch(r"ser(_[a-z]+)+", metric.name)
    assert metric.name.endswith(UNITS) != (metric.name in WITHOUT_UNIT)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert metric.name.endswith("_timestamp_seconds") or "timestamp" not in metric.name
    assert metric.help.endswith(".")


def test_no_name_stands_twice():
    assert len(METRICS) == sum(len(group.metrics) for group in GROUPS)


def test_every_label_was_thought_about():
    """A new one is bounded, or it is not a label: docs/metrics.md says how each is."""
    assert {label for metric in METRICS.values() for label in metric.labels} == LABELS


def test_the_manual_is_generated_from_the_table():
    assert (ROOT / "docs" / "metrics.md").read_text() == metrics_text()
