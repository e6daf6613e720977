"""Wrong values are refused by name; right ones are documented."""

import json
import re

import pytest
import yaml
from chart.rendering import CHART, MATRIX, MONITORING, helm, refusal, template

from ser_core.api.values.endpoints import server

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
WHOLE = {("resources",), ("affinity",), ("podSecurityContext",), ("securityContext",), ("stages", "securityContext")}
"""Values with an inside that Kubernetes documents."""
VALUES = (CHART / "values.yaml").read_text()
DEFAULTS = yaml.safe_load(VALUES)

WRONG = {
    "a misspelt key": ({"watchNamespace": ["lab"]}, "watchNamespace"),
    "a misspelt inner key": ({"image": {"digets": "sha256:"}}, "image.*digets"),
    "a misspelt key of the stages": ({"stages": {"gpu": {"nodeselector": {}}}}, "stages/gpu.*nodeselector"),
    "a short digest": ({"image": {"digest": "sha256:0123"}}, "image/digest.*sha256:0123"),
    "a digest of another kind": ({"stages": {"image": {"digest": f"md5:{'0' * 32}"}}}, "stages/image/digest.*md5"),
    "no image": ({"image": {"repository": ""}}, "image/repository"),
    "a Secret without name": ({"imagePullSecrets": [{}]}, "imagePullSecrets/0.*name"),
    "an empty Secret name": ({"imagePullSecrets": [{"name": ""}]}, "imagePullSecrets/0/name"),
    "a Secret as text": ({"imagePullSecrets": ["pull"]}, "imagePullSecrets/0"),
    "an empty pattern": ({"allow": {"secrets": [""]}}, "allow/secrets/0"),
    "two patterns in one": ({"allow": {"write": ["s3://a/*,s3://b/*"]}}, "allow/write/0"),
    "an empty pattern of an earlier list": ({"settings": {"allowedSecrets": [""]}}, "settings/allowedSecrets/0"),
    "a list that is none": ({"allow": {"reads": ["*"]}}, "allow.*reads"),
    "a size without unit": ({"stages": {"defaults": {"workSize": "20"}}}, "stages/defaults/workSize"),
    "a resource that counts no devices": ({"stages": {"gpu": {"resource": "gpu"}}}, "stages/gpu/resource"),
    "a number as text": ({"settings": {"workers": "8"}}, "settings/workers"),
    "a number out of bounds": ({"settings": {"workers": 65}}, "settings/workers.*65"),
    "a privileged port": ({"settings": {"probePort": 80}}, "settings/probePort"),
    "a namespace that cannot be": ({"watchNamespaces": ["Lab"]}, "watchNamespaces/0.*Lab"),
    "a namespace twice": ({"watchNamespaces": ["lab", "lab"]}, "watchNamespaces"),
    "replicas": ({"replicas": 2}, "replicas"),
    "a stage account without name": ({"stages": {"serviceAccount": {"name": ""}}}, "stages/serviceAccount/name"),
    "no memory": ({"stages": {"defaults": {"memory": "0Gi"}}}, "stages/defaults/memory"),
    "a label that is none": ({"stages": {"gpu": {"nodeSelector": {"a": "x y"}}}}, "gpu/nodeSelector/a"),
    "a key that is none": ({"stages": {"gpu": {"nodeSelector": {"a b": "x"}}}}, "gpu/nodeSelector.*a b"),
    "a resource that no node can have": ({"stages": {"gpu": {"resource": "a-/b"}}}, "stages/gpu/resource"),
    "a value of any taint": ({"stages": {"gpu": {"tolerations": [{"value": "x"}]}}}, "tolerations/0.*key"),
    "a value of no use": ({"tolerations": [{"key": "k", "operator": "Exists", "value": "x"}]}, "tolerations/0/value"),
    "seconds of no use": ({"tolerations": [{"key": "k", "effect": "NoSchedule", "tolerationSeconds": 5}]}, "tolerations/0/effect"),
    "a pattern that is too long": ({"allow": {"read": ["x" * 1201]}}, "allow/read/0"),
    "names from anywhere": ({"networkPolicy": {"dns": {"to": None}}}, "networkPolicy/dns.*'to'"),
    "names at any port": ({"networkPolicy": {"dns": {"ports": None}}}, "networkPolicy/dns.*'ports'"),
    "the hub at any port": ({"networkPolicy": {"hub": {"ports": None}}}, "networkPolicy/hub.*'ports'"),
    "the API server at any port": ({"networkPolicy": {"apiServer": {"ports": None}}}, "networkPolicy/apiServer.*'ports'"),
    "metrics for everybody": ({"networkPolicy": {"prometheus": {"from": None}}}, "networkPolicy/prometheus.*'from'"),
    "metrics at any port": ({"settings": {"probePort": None}}, "settings.*'probePort'"),
    "a toleration with a wrong effect": ({"tolerations": [{"key": "a", "effect": "NoRun"}]}, "tolerations/0/effect"),
    "an empty toleration, which takes all": ({"stages": {"gpu": {"tolerations": [{}]}}}, "stages/gpu/tolerations/0"),
    "a store that nobody can reach": ({"networkPolicy": {"store": {"to": []}}}, "networkPolicy/store/to"),
    "a peer of an unknown kind": ({"networkPolicy": {"hub": {"to": [{"fqdn": "hub"}]}}}, "networkPolicy/hub/to/0.*fqdn"),
    "an address for a block": ({"networkPolicy": {"store": {"to": [{"ipBlock": {"cidr": "10.0.0.1"}}]}}}, "store/to/0/ipBlock/cidr"),
    "root as the operator's user": ({"podSecurityContext": {"runAsUser": 0}}, "podSecurityContext/runAsUser"),
    "a privileged operator": ({"securityContext": {"privileged": True}}, "securityContext.*privileged"),
    "an operator that may become root": (
        {"securityContext": {"allowPrivilegeEscalation": True}},
        "securityContext.*allowPrivilegeEscalation",
    ),
    "root as the stages' user": ({"stages": {"securityContext": {"runAsUser": 0}}}, "stages/securityContext/runAsUser"),
    "a folder of the node": ({"extraVolumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "extraVolumes/0.*hostPath"),
    "a setting as a variable": (
        {"extraEnv": [{"name": "SER_OPERATOR_WORKERS", "value": "4"}]},
        "extraEnv: SER_OPERATOR_WORKERS is the chart's own",
    ),
    "a server without scheme": ({"allow": {"endpoints": ["minio:9000"]}}, "allow/endpoints/0.*minio:9000"),
    "a server without scheme in the earlier list": ({"settings": {"allowedEndpoints": ["minio"]}}, "settings/allowedEndpoints/0"),
    "an alert to leave out that is none": (
        {"monitoring": {"prometheusRule": {"exclude": ["SERRunFail"]}}},
        "prometheusRule/exclude/0.*must be one of",
    ),
    "an ended run told for longer than it has series": (
        {"monitoring": {"prometheusRule": {"alerts": {"SERRunFailed": {"threshold": 604801}}}}},
        "alerts/SERRunFailed/threshold",
    ),
    "a wait that is not measured": (
        {"monitoring": {"prometheusRule": {"alerts": {"SEROperatorSlow": {"threshold": 600}}}}},
        "alerts/SEROperatorSlow/threshold",
    ),
    "lists further apart than their alert bears": (
        {"settings": {"resyncSeconds": 3600}, "monitoring": {"prometheusRule": {"enabled": True}}},
        "settings.resyncSeconds 3600 is not below 1200.*alerts.SEROperatorNotReconciling.threshold",
    ),
    "a mount without a path": ({"extraVolumeMounts": [{"name": "a"}]}, "extraVolumeMounts/0.*mountPath"),
    "a probe that asks elsewhere": ({"readinessProbe": {"exec": {}}}, "readinessProbe.*exec"),
    "an alert that is none": ({"monitoring": {"prometheusRule": {"alerts": {"SERRunSlow": {}}}}}, "alerts.*SERRunSlow"),
    "a threshold where there is none": (
        {"monitoring": {"prometheusRule": {"alerts": {"SERRunStalled": {"threshold": 1}}}}},
        "alerts/SERRunStalled.*threshold",
    ),
    "no image at all": ({"image": None}, "missing property 'image'"),
    "an interval of nothing": ({"monitoring": {"podMonitor": {"interval": "0s"}}}, "monitoring/podMonitor/interval"),
    "units in another order": ({"monitoring": {"podMonitor": {"interval": "1s1h"}}}, "monitoring/podMonitor/interval"),
    "an interval without unit": ({"monitoring": {"podMonitor": {"interval": "30"}}}, "monitoring/podMonitor/interval"),
}


@pytest.mark.parametrize(("values", "named"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("version", ["helm", "helm4"])
def test_a_wrong_value_is_refused_by_its_name(values, named, version):
    assert re.search(named, refusal(values, version=version))


def test_endpoints_that_can_match_are_taken():
    hosts = ["*.corp.example", "minio.{namespace}:9000", "*:*", "[fd00::1]:9000", "gate.example/s3"]
    patterns = ["*", *(f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts)]
    given = [*patterns, *(f"!{pattern}" for pattern in patterns)]
    assert all(server(pattern) is not None for pattern in patterns[1:] if "{" not in pattern)
    ended = template({"allow": {"endpoints": given}, "settings": {"allowedEndpoints": given}})
    assert ended.returncode == 0, ended.stderr


def test_the_alerts_that_can_be_left_out_are_those_of_the_rules():
    alerts = re.findall(r"- alert: (\w+)", "".join(file.read_text() for file in (CHART / "rules").glob("*.yaml")))
    rule = SCHEMA["properties"]["monitoring"]["properties"]["prometheusRule"]["properties"]
    assert sorted(rule["exclude"]["items"]["enum"]) == sorted(rule["alerts"]["properties"]) == sorted(alerts)


@pytest.mark.parametrize("version", ["helm", "helm4"])
@pytest.mark.parametrize("values", [*MATRIX.values(), MONITORING], ids=[*MATRIX, "monitoring"])
def test_lint_finds_nothing(values, version):
    ended = helm("lint", "--strict", str(CHART), values=values, version=version)

    assert ended.returncode == 0, ended.stdout
    assert not re.search(r"\[(INFO|WARNING|ERROR)\]", ended.stdout), ended.stdout


@pytest.mark.parametrize("values", [*MATRIX.values(), MONITORING], ids=[*MATRIX, "monitoring"])
def test_both_helms_render_the_same(values):
    three, four = (list(filter(None, yaml.safe_load_all(template(values, version=version).stdout))) for version in ("helm", "helm4"))

    by_name = lambda found: sorted(found, key=lambda one: (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]))  # noqa: E731
    assert by_name(three) == by_name(four)
    assert len(three) > 0


def without(path):
    """Values that take an object away, as `helm upgrade --reuse-values` does with one that the installed chart did not have."""
    values = None
    for name in reversed(path):
        values = {name: values}
    return values


MAPS = [
    path
    for path, default in [
        *(((name,), one) for name, one in DEFAULTS.items()),
        *(((outer, name), one) for outer, inner in DEFAULTS.items() if isinstance(inner, dict) for name, one in inner.items()),
    ]
    if isinstance(default, dict)
]


@pytest.mark.parametrize("path", MAPS, ids=".".join)
def test_an_object_that_is_missing_is_borne_or_missed_by_its_name(path):
    ended = template({**without(path), "monitoring": MONITORING["monitoring"]} if path[0] != "monitoring" else without(path))

    assert "nil pointer" not in ended.stderr
    assert ended.returncode == 0 or f"missing property '{path[-1]}'" in ended.stderr, ended.stderr


def test_a_parent_chart_may_switch_it_off(tmp_path):
    dependency = {"name": "ser-operator", "version": "*", "repository": f"file://{CHART}", "condition": "ser-operator.enabled"}
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "charts").mkdir()
    (tmp_path / "charts" / "ser-operator").symlink_to(CHART)
    (tmp_path / "Chart.yaml").write_text(json.dumps(parent))
    told = {on: helm("template", "r", str(tmp_path), values={"ser-operator": {"enabled": on}}) for on in (True, False)}

    assert {on: (ended.returncode, "kind: Deployment" in ended.stdout) for on, ended in told.items()} == {
        True: (0, True),
        False: (0, False),
    }


def names(thing):
    """What is a name in an object, at any depth."""
    if isinstance(thing, dict):
        places = ("name", "namespace", "image", "serviceAccountName", "priorityClassName", "kubernetes.io/metadata.name")
        yield from (thing[place] for place in places if place in thing and not isinstance(thing[place], dict))
        yield from (found for inner in thing.values() for found in names(inner))
    elif isinstance(thing, list):
        yield from (found for inner in thing for found in names(inner))


def test_names_that_look_like_numbers_stay_names():
    accounts = {"serviceAccount": {"name": "123"}, "stages": {"serviceAccount": {"name": "0x1f"}}}
    values = {**MONITORING, **accounts, "watchNamespaces": ["123", "0x10"], "priorityClassName": "12", "fullnameOverride": "true"}
    ended = helm("template", "r", str(CHART), "--namespace", "2026", values={**values, "image": {"repository": "190", "tag": "20"}})

    assert ended.returncode == 0, ended.stderr
    found = list(names(list(yaml.safe_load_all(ended.stdout))))
    assert "2026" in found
    assert not [one for one in found if not isinstance(one, str)]


def test_an_old_kubernetes_is_refused():
    assert re.search(r"requires kubeVersion: >=1\.31", refusal({}, kubernetes="1.30.9"))
    assert template({}, kubernetes="v1.31.4-gke.100").returncode == 0


def schema_objects(schema, path="values"):
    """Every schema of an object below one, with its path."""
    if "properties" in schema:
        yield path, schema
    for name, inner in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        yield from schema_objects(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from schema_objects(schema["items"], f"{path}[]")


@pytest.mark.parametrize(("path", "schema"), schema_objects(SCHEMA), ids=[path for path, _ in schema_objects(SCHEMA)])
def test_no_object_takes_unknown_keys(path, schema):
    assert schema["additionalProperties"] is False


def leaves(values, schema, path=()):
    """Paths of the values that the schema describes one by one."""
    for name, inner in values.items():
        properties = schema.get("properties", {}).get(name, {})
        if isinstance(inner, dict) and "properties" in properties and (*path, name) not in WHOLE:
            yield from leaves(inner, properties, (*path, name))
        else:
            yield (*path, name)


def test_every_value_of_the_schema_has_a_default_and_the_reverse():
    def keys(schema, path=()):
        for name, inner in schema["properties"].items():
            if "properties" in inner and (*path, name) not in WHOLE:
                yield from keys(inner, (*path, name))
            else:
                yield (*path, name)

    assert set(leaves(yaml.safe_load(VALUES), SCHEMA)) == set(keys(SCHEMA)) - {("global",), ("enabled",)}


def test_every_value_is_documented():
    lines = VALUES.splitlines()
    depth, documented = [], set()
    for number, line in enumerate(lines):
        if found := re.match(r"( *)([A-Za-z]+):", line):
            level = len(found[1]) // 2
            depth[level:] = [found[2]]
            before = number - 1
            while lines[before].lstrip().startswith("#") and "# -- " not in lines[before]:
                before -= 1
            if "# -- " in lines[before]:
                documented.add(tuple(depth))

    assert set(leaves(yaml.safe_load(VALUES), SCHEMA)) <= documented
