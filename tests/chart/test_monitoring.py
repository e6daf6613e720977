"""What the chart hands to the Prometheus operator and to Grafana, which the test cluster does not have: read as they read it."""

import json

import pytest
import yaml
from chart.rendering import CHART, MATRIX, MONITORING, objects, of_kind, the

from ser_operator.objects.render import PROGRESS_PORT

KINDS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
RULES = sorted((CHART / "rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))


def shipped_alerts():
    return [rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_nothing_of_it_is_made_unasked(values):
    assert not [one for one in objects(values) if one["kind"] in (*KINDS, "Service", "ConfigMap")]


def test_the_operator_is_scraped_at_its_port():
    found = objects(MONITORING)
    monitor, service = the(found, "ServiceMonitor")["spec"], the(found, "Service")
    pod = the(found, "Deployment")["spec"]["template"]

    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (endpoint,), (port,) = monitor["endpoints"], service["spec"]["ports"]
    assert endpoint["port"] == port["name"]
    assert port["targetPort"] in {one["name"] for one in pod["spec"]["containers"][0]["ports"]}


@pytest.mark.parametrize(
    ("values", "selector"),
    [
        ({}, {"matchNames": ["ser-system"]}),
        ({"watchNamespaces": ["team-a", "team-b"]}, {"matchNames": ["team-a", "team-b"]}),
        ({"clusterWide": True}, {"any": True}),
    ],
)
def test_stages_are_scraped_where_runs_live(values, selector):
    spec = the(objects({**values, **MONITORING}), "PodMonitor")["spec"]

    assert spec["namespaceSelector"] == selector
    assert spec["selector"]["matchLabels"] == {"app.kubernetes.io/name": "ser-stage"}
    assert [one["port"] for one in spec["podMetricsEndpoints"]] == ["progress"]  # the name that objects/render.py gives
    assert PROGRESS_PORT == 9400


def test_labels_by_which_prometheus_selects_are_added():
    values = {
        "monitoring": {kind: {"enabled": True, "labels": {"release": "kps"}} for kind in ("serviceMonitor", "podMonitor", "prometheusRule")}
    }

    found = objects(values)

    assert all(the(found, kind)["metadata"]["labels"]["release"] == "kps" for kind in KINDS)


def test_every_shipped_rule_is_in_the_prometheus_rule_with_its_runbook():
    base = "https://runbooks.example/"
    values = {"monitoring": {"prometheusRule": {"enabled": True, "runbookBase": base}}}

    groups = the(objects(values), "PrometheusRule")["spec"]["groups"]

    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule.get("alert", rule.get("record")) for rule in rules] == [rule.get("alert", rule.get("record")) for rule in shipped_alerts()]
    assert all("://" in rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule)
    assert [rule["expr"] for rule in rules] == [rule["expr"] for rule in shipped_alerts()]
    assert len({group["name"] for group in groups}) == len(groups)


def test_an_alert_can_be_left_out():
    alerts = [rule["alert"] for rule in shipped_alerts() if "alert" in rule]
    values = {"monitoring": {"prometheusRule": {"enabled": True, "exclude": alerts[:1]}}}

    left = [rule.get("alert") for group in the(objects(values), "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]

    assert left == alerts[1:]


def test_every_dashboard_reaches_grafana_as_it_is():
    values = {"monitoring": {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Machine learning"}}}}

    found = of_kind(objects(values), "ConfigMap")

    contents = {name: text for one in found for name, text in one["data"].items()}
    assert {name: json.loads(text) for name, text in contents.items()} == {file.name: json.loads(file.read_text()) for file in DASHBOARDS}
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in found)
    assert all(one["metadata"]["annotations"] == {"grafana_folder": "Machine learning"} for one in found)
