"""The chart as Helm renders it: values in, objects out."""

import json
import subprocess
from functools import cache
from pathlib import Path

import yaml

from controlplane.plane.build import binary

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "ser-operator"
RELEASE, NAMESPACE = "ser-operator", "ser-system"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"

MATRIX = {
    "defaults": {},
    "several namespaces": {"watchNamespaces": ["team-a", "team-b"]},
    "cluster-wide": {"clusterWide": True},
    "cluster-wide, two namespaces prepared": {"clusterWide": True, "watchNamespaces": ["team-a", "team-b"]},
    "nothing but the operator": {
        "serviceAccount": {"create": False, "name": "mine"},
        "stages": {"serviceAccount": {"create": False, "name": "theirs"}},
        "rbac": {"create": False, "aggregate": False},
        "crds": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
    "users chosen by the platform": {
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None},
        "stages": {"securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
    },
    "everything": {
        "fullnameOverride": "ser",
        "operatorClass": "blue",
        "watchNamespaces": ["team-a"],
        "image": {"repository": "registry.example:5000/ser/operator", "digest": DIGEST},
        "imagePullSecrets": [{"name": "pull"}],
        "serviceAccount": {"annotations": {"example.com/role": "operator"}},
        "crds": {"keep": False},
        "allow": {"secrets": ["ser-s3"], "write": ["s3://ours/*", "s3://theirs/{namespace}/*"], "gpus": 8},
        "settings": {"resyncSeconds": 10_000_000},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podAnnotations": {"note": "1"},
        "podLabels": {"team": "ml"},
        "commonLabels": {"cost-centre": "7"},
        "podSecurityContext": {"runAsUser": 1000, "fsGroup": 1000},
        "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
        "extraEnv": [{"name": "KUBECONFIG", "value": "/etc/certificates/kubeconfig"}],
        "extraVolumes": [{"name": "certificates", "secret": {"secretName": "certificates"}}],
        "extraVolumeMounts": [{"name": "certificates", "mountPath": "/etc/certificates", "readOnly": True}],
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"team": "ml"}}}
        ],
        "livenessProbe": {"initialDelaySeconds": 30},
        "stages": {
            "image": {"repository": "registry.example/ser/jobs", "tag": "1.2.3"},
            "serviceAccount": {"annotations": {"example.com/role": "stage"}},
            "defaults": {"memory": "8Gi", "workSize": "2Ti"},
            "gpu": {
                "resource": "amd.com/gpu",
                "nodeSelector": {"gpu": "h100"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            },
            "defaultQueue": "team",
            "queueCpuStages": False,
        },
        "networkPolicy": {
            "store": {
                "to": [{"namespaceSelector": {"matchLabels": {"name": "store"}}, "podSelector": {"matchLabels": {"app": "s3"}}}],
                "ports": [9000],
            },
            "apiServer": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [443]},
        },
    },
}
"""Values that people have, each unlike the others in its templates."""

MONITORING = {"monitoring": {kind: {"enabled": True} for kind in ("serviceMonitor", "podMonitor", "prometheusRule", "dashboards")}}


def helm(*arguments, version="helm", values=None):
    """Run Helm on ``values``; the caller looks at how it ended."""
    words = [str(binary(version)), *arguments, *(["--values", "-"] if values is not None else [])]
    return subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, timeout=120)


def template(values, version="helm", kubernetes=None):
    """Everything that ``helm template`` says."""
    return _template(json.dumps(values), version, kubernetes)


@cache
def _template(values, version, kubernetes):
    words = ["--kube-version", kubernetes] if kubernetes else []
    return helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *words, version=version, values=json.loads(values))


def manifests(values, **more):
    """The text of the objects of a release with these values."""
    ended = template(values, **more)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def objects(values, **more):
    """The objects that a release with these values installs."""
    return [one for one in _all(values, **more) if not _is_hook(one)]


def hooks(values, **more):
    """The objects of `helm test`."""
    return [one for one in _all(values, **more) if _is_hook(one)]


def _all(values, **more):
    return [found for found in yaml.load_all(manifests(values, **more), yaml.CSafeLoader) if found]


def _is_hook(found):
    return "helm.sh/hook" in found["metadata"].get("annotations", {})


def of_kind(found, kind):
    """The objects of one kind."""
    return [one for one in found if one["kind"] == kind]


def the(found, kind, name=None):
    """The one object of a kind, or of a kind and a name."""
    (one,) = [one for one in of_kind(found, kind) if name in (None, one["metadata"]["name"])]
    return one


def refusal(values, **more):
    """What Helm says to wrong values."""
    ended = template(values, **more)
    assert ended.returncode != 0, "these values were taken"
    return ended.stderr
