"""What the chart hands to the Prometheus operator and to Grafana, which the test cluster does not have: read as they read it."""

import json
import re

import pytest
import yaml
from chart.rendering import CHART, MATRIX, MONITORING, objects, of_kind, template, the

from ser_core.loop.deciding.faults import TABLE, Fault
from ser_core.metrics import GROUPS, POLICY, STAGES, TRAINING
from ser_operator.objects.container import PROGRESS_PORT

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
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


def test_of_the_pods_of_a_stage_only_the_first_is_scraped():
    (endpoint,) = the(objects(MONITORING), "PodMonitor")["spec"]["podMetricsEndpoints"]
    (rule,) = endpoint["relabelings"]

    assert (rule["action"], rule["sourceLabels"]) == (
        "keep",
        [f"__meta_kubernetes_pod_annotation_{re.sub('[^a-z]', '_', COMPLETION_INDEX)}"],
    )
    assert [index for index in ("", "0", "1", "10") if re.fullmatch(rule["regex"], index)] == ["", "0"]


@pytest.mark.parametrize(("monitor", "kind"), [("serviceMonitor", "ServiceMonitor"), ("podMonitor", "PodMonitor")])
def test_how_a_target_is_scraped_can_be_said(monitor, kind):
    dropped = [{"sourceLabels": ["__name__"], "regex": "process_.*", "action": "drop"}]
    zone = [{"targetLabel": "zone", "replacement": "a"}]
    wanted = {"interval": "2m", "scrapeTimeout": "20s", "relabelings": zone, "metricRelabelings": dropped}
    endpoints = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[kind]

    (plain,) = the(objects(MONITORING), kind)["spec"][endpoints]
    (changed,) = the(objects({"monitoring": {monitor: {"enabled": True, **wanted}}}), kind)["spec"][endpoints]

    own = {key: plain.pop(key, []) for key in ("relabelings", "metricRelabelings")}
    assert plain | wanted | {key: [*rules, *wanted[key]] for key, rules in own.items()} == changed
    assert plain.keys() - {"honorLabels"} == {"port", "path", "interval"}


def test_the_operator_is_believed_of_which_namespace_it_tells_and_a_stage_is_not():
    found = objects(MONITORING)
    (operator,), (stage,) = the(found, "ServiceMonitor")["spec"]["endpoints"], the(found, "PodMonitor")["spec"]["podMetricsEndpoints"]
    names, claimed = stage["metricRelabelings"]

    assert (operator["honorLabels"], stage.get("honorLabels", False)) == (True, False)
    assert claimed == {"action": "labeldrop", "regex": "exported_namespace"}
    assert (names["action"], names["sourceLabels"]) == ("keep", ["__name__"])
    told = {metric.name for group in GROUPS for metric in group.metrics if re.fullmatch(names["regex"], metric.name)}
    assert told == {metric.name for group in (STAGES, TRAINING, POLICY) for metric in group.metrics}


def test_kube_prometheus_stack_finds_everything_by_one_common_label():
    found = objects({**MONITORING, "commonLabels": {"release": "prometheus"}})

    assert all(the(found, kind)["metadata"]["labels"]["release"] == "prometheus" for kind in KINDS)


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
    linked = [
        {**one, "annotations": {**one["annotations"], "runbook_url": base + one["annotations"]["runbook_url"]}} for one in shipped_alerts()
    ]
    assert rules == linked
    assert len({group["name"] for group in groups}) == len(groups)


def alert(name, **said):
    """The rule of an alert of which the values say something."""
    values = {"monitoring": {"prometheusRule": {"enabled": True, "alerts": {name: said}}}}
    groups = the(objects(values), "PrometheusRule")["spec"]["groups"]
    return next(rule for group in groups for rule in group["rules"] if rule["alert"] == name)


def test_the_alert_on_the_store_knows_each_fault_of_the_store_and_of_no_other_part_of_the_world():
    (rule,) = [rule for rule in shipped_alerts() if rule["alert"] == "SERRunStoreErrors"]
    told = re.search(r'reason=~"(.*)"', rule["expr"])[1]
    firsts = {"StoreUnavailable", "StoreAccessDenied", "ClockSkewed", "CorruptObject"}
    world = [row for row in TABLE if row.fault is Fault.WORLD]
    wanted = {reason for row in world if row.reasons & firsts for reason in row.reasons}

    assert firsts <= wanted
    assert {reason for row in world for reason in row.reasons if re.fullmatch(told, reason)} == wanted


@pytest.mark.parametrize("given", ["1h", "1m30s", "90s", "2w"])
def test_times_are_written_as_prometheus_takes_them(given):
    monitors = {kind: {"enabled": True, "interval": given, "scrapeTimeout": given} for kind in ("serviceMonitor", "podMonitor")}
    rules = {"enabled": True, "alerts": {"SERRunStalled": {"for": given}}}

    assert template({"monitoring": {**monitors, "prometheusRule": rules}}).returncode == 0


def test_an_operator_that_is_gone_is_missed_beside_one_of_another_release():
    values = {"monitoring": {"prometheusRule": {"enabled": True}, "serviceMonitor": {"enabled": True}}}
    found = objects(values)
    groups, service = the(found, "PrometheusRule")["spec"]["groups"], the(found, "Service")["metadata"]
    (down,) = (rule["expr"] for group in groups for rule in group["rules"] if rule["alert"] == "SEROperatorDown")

    assert down == f'absent(ser_operator_build_info{{namespace="{service["namespace"]}", service="{service["name"]}"}})'


def shipped_threshold(rule):
    found = re.search(r"# threshold: ([0-9.]+)$", rule["expr"], re.MULTILINE)
    return found and found[1]


def test_the_values_know_every_alert_and_what_can_be_said_of_it():
    told = yaml.safe_load((CHART / "values.yaml").read_text())["monitoring"]["prometheusRule"]["alerts"]

    for rule in shipped_alerts():
        threshold = shipped_threshold(rule)
        expected = {"for": rule.get("for"), "severity": rule["labels"]["severity"], "threshold": threshold and json.loads(threshold)}
        assert told.pop(rule["alert"]) == {name: value for name, value in expected.items() if value is not None}
    assert told == {}


@pytest.mark.parametrize("rule", [one for one in shipped_alerts() if shipped_threshold(one)], ids=lambda one: one["alert"])
def test_another_threshold_takes_the_place_of_the_shipped_one(rule):
    changed, shipped = alert(rule["alert"], threshold=599), shipped_threshold(rule)

    assert changed["expr"].count("599") > 1  # where it is named, and where it is compared
    assert changed["expr"].replace("599", shipped) == rule["expr"]
    assert re.search(rf"(?<![0-9.]){re.escape(shipped)}s?\b", changed["expr"]) is None
    assert changed | {"expr": ""} == alert(rule["alert"]) | {"expr": ""}


@pytest.mark.parametrize("name", ["SERRunStalled", "SERRunFailed"])
def test_how_long_an_alert_waits_and_how_bad_it_is_can_be_said(name):
    changed = alert(name, **{"for": "1h", "severity": "page"})

    assert (changed["for"], changed["labels"]) == ("1h", {"severity": "page"})
    assert changed["expr"] == next(one["expr"] for one in shipped_alerts() if one["alert"] == name)


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
