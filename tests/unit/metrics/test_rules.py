"""Alert rules: each is explained, tested, and asks for metrics that exist."""

import re
from pathlib import Path

import pytest
import yaml

from ser_core.metrics import METRICS

ROOT = Path(__file__).parents[3]
RULES = [
    rule
    for path in sorted((ROOT / "charts/ser-operator/rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])


def anchors(path):
    return {
        re.sub(r"[^\w-]", "", line.lstrip("# ").lower().replace(" ", "-")) for line in path.read_text().splitlines() if line[0:1] == "#"
    }


@ALERTS
def test_an_alert_links_to_its_runbook(rule):
    file, anchor = rule["annotations"]["runbook_url"].split("#")

    assert anchor == rule["alert"].lower()
    assert anchor in anchors(ROOT / "docs" / file)


@ALERTS
def test_an_alert_says_how_bad_it_is_and_what_it_means(rule):
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


@ALERTS
def test_an_alert_asks_for_metrics_of_the_table(rule):
    asked = {name.removesuffix("_bucket") for name in re.findall(r"\bser_\w+", rule["expr"])}

    assert asked
    assert asked <= METRICS.keys()


@ALERTS
def test_an_alert_is_shown_to_fire_and_not_to_fire(rule):
    """`promtool test rules` runs these in tests/e2e."""
    expectations = [
        one.get("exp_alerts", [])
        for path in (ROOT / "tests/e2e/installed/rules").glob("*.yaml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for one in test.get("alert_rule_test", ())
        if one["alertname"] == rule["alert"]
    ]

    assert any(expectations)
    assert not all(expectations)
