"""The alert rules as promtool sees them."""

import json
import subprocess

import pytest
import yaml
from chart.rendering import objects, the

from controlplane.faults.scenario import ROOT
from controlplane.plane.build import binary

RULES = sorted((ROOT / "charts/ser-operator/rules").glob("*.yaml"))
TESTS = sorted((ROOT / "tests/e2e/installed/rules").glob("*.yaml"))
MEASURED = [
    rule["alert"]
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "# threshold: " in rule["expr"]
]


def promtool(*words):
    ended = subprocess.run([binary("promtool"), *words], capture_output=True, text=True, timeout=300)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_promtool_finds_no_fault_in_a_rule_file(path):
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(path))

    assert code == 0, said


def test_promtool_finds_no_fault_in_rules_with_other_thresholds(tmp_path):
    alerts = {name: {"threshold": 599} for name in MEASURED} | {"SERRunStalled": {"for": "1h", "severity": "page"}}
    values = {"monitoring": {"prometheusRule": {"enabled": True, "runbookBase": "https://runbooks.example/", "alerts": alerts}}}
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": the(objects(values), "PrometheusRule")["spec"]["groups"]}))

    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml"))

    assert code == 0, said
    assert (tmp_path / "rules.yaml").read_text().count("599") > len(MEASURED) > 0


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path):
    code, said = promtool("test", "rules", str(path))

    assert code == 0, said


def test_a_rule_that_never_fires_is_found(tmp_path):
    """The test of the tests: with another bound they fail."""
    broken = RULES[1].read_text().replace("(ser_run_accuracy_falls) >= 2", "(ser_run_accuracy_falls) >= 4")
    (tmp_path / "runs.yaml").write_text(broken)
    test = tmp_path / "test.yaml"
    test.write_text(TESTS[1].read_text().replace("../../../../charts/ser-operator/rules/runs.yaml", "runs.yaml"))

    code, said = promtool("test", "rules", str(test))

    assert code != 0
    assert "SERRunAccuracyFell" in said
