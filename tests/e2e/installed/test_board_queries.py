"""What queries of the boards answer, as promtool computes it."""

import json
import subprocess

import yaml

from controlplane.faults.scenario import ROOT
from controlplane.plane.build import binary

BOARDS = ROOT / "charts/ser-operator/dashboards"


def query(board, title, column=0):
    panels = json.loads((BOARDS / f"{board}.json").read_text())["panels"]
    (panel,) = (one for one in panels if one["title"] == title)
    return panel["targets"][column]["expr"]


def test_the_accuracy_of_a_run_is_that_of_its_best_loop_and_not_the_highest(tmp_path):
    accuracy = 'ser_iteration_accuracy_ratio{{namespace="lab", run="{}", split="dev", iteration="{}"}}'
    series = {
        accuracy.format("hh", 1): "0.91x9",
        accuracy.format("hh", 2): "0.9x9",
        accuracy.format("other", 0): "0.7x9",
        accuracy.format("other", 2): "0.8x9",
        'ser_run_best_iteration{namespace="lab", run="hh"}': "2x9",
        'ser_run_best_iteration{namespace="lab", run="other"}': "0x9",
    }
    answer = {"hh": 0.9, "other": 0.7}
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": query("ser-runs", "Best dev accuracy"),
                "eval_time": "5m",
                "exp_samples": [{"labels": f'{{namespace="lab", run="{run}"}}', "value": value} for run, value in answer.items()],
            }
        ],
    }
    test = tmp_path / "test.yaml"
    test.write_text(yaml.safe_dump({"tests": [case]}))

    ended = subprocess.run([binary("promtool"), "test", "rules", str(test)], capture_output=True, text=True, timeout=300)

    assert ended.returncode == 0, ended.stdout + ended.stderr
