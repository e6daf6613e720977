"""A catalogue of hostile SERRuns, at an installation that has opened much: each is refused, by its types or by the allow-lists."""

import pytest
from e2e.admission.serruns import merged
from pydantic import ValidationError

from ser_core.api.serrun import SERRun
from ser_core.api.values.forms import NEW
from ser_operator.allow import Allow
from ser_operator.facts.serruns.allow_lists import judged, refusal
from ser_operator.settings import Settings

ALLOW = Allow.model_validate(
    {
        "read": ["hf://*", "{storage}/*", "s3://shared/{namespace}/*", "s3://public/*", "!hf://secret-org/*", "!s3://public/private/*"],
        "write": ["s3://shared/{namespace}/*"],
        "endpoints": ["https://*.corp.example", "http://minio.store:9000", "https://gate.example/s3"],
        "secrets": ["ser-*", "!ser-admin*"],
        "priorityClasses": ["low", "team-*", "!system-*"],
        "queues": ["{namespace}-*"],
        "tolerations": ["gpu", "spot*"],
        "nodeSelectors": ["pool=*", "!pool=admin"],
        "nodes": 4,
        "gpus": 8,
        "podTemplate": {
            **{key: ["*"] for key in ("annotations", "env", "affinity")},
            "labels": ["team", "app*", "ser*"],
            "envFrom": ["configMap/*", "secret/ser-*"],
            "volumes": ["persistentVolumeClaim/models", "emptyDir", "ephemeral", "configMap/*", "secret/*"],
            "serviceAccounts": ["cloud-{namespace}"],
            "imagePullSecrets": ["*"],
            "runtimeClasses": ["gvisor"],
            "schedulers": ["volcano"],
            "topologyKeys": ["zone"],
            "resourceClaims": ["mig"],
            "resources": ["rdma/*"],
            "sidecars": ["registry.example/*"],
        },
    }
)
SPEC = {
    "rewardModel": {"base": "hf://org/model"},
    "data": {"source": {"uri": "hf://org/data"}},
    "storage": {"uri": "s3://shared/team-a/runs"},
}


def data(uri):
    return {"data": {"source": {"uri": uri}}}


def model(uri):
    return {"rewardModel": {"base": uri}}


def storage(**fields):
    return {"storage": fields}


def hub(endpoint, secret=None):
    return {"hub": {"endpoint": endpoint, "credentialsSecret": secret}}


def prepare(**fields):
    return {"resources": {"prepare": fields}}


def pod(**fields):
    return {"podTemplate": fields}


def volume(**source):
    return pod(volumes=[{"name": "a", **source}])


def mount(path, **more):
    return pod(volumes=[{"name": "a", "emptyDir": {}}], volumeMounts=[{"name": "a", "mountPath": path, **more}])


def sidecar(**fields):
    return pod(sidecars=[{"name": "a", "image": "registry.example/a", **fields}])


def variable(name, **source):
    return pod(env=[{"name": name, **(source or {"value": "x"})}])


def claim(**spec):
    return volume(ephemeral={"volumeClaimTemplate": {"spec": spec}})


def nodes(**term):
    return pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})


def label(key, operator, *values):
    return nodes(matchExpressions=[{"key": key, "operator": operator, "values": list(values)}])


URIS = (
    *("s3://shared/team-b/x", "s3://shared/team-ab/x", "s3://shared", "s3://shared/", "s3://shared/team-a", "s3://shared/./team-b/x"),
    *("s3://shared/team-a/../team-b", "s3://shared/team-a/./../team-b", "S3://shared/team-a/x", "s3://shared//team-a/x", "s3://*/team-a/x"),
    *("s3://shared/team-[a-z]/x", "s3://shared/{namespace}/x", "s3://shared/team-a/\n", "http://evil.com/x", "file:///etc/passwd"),
)
READ = (
    *("s3://public", "s3://public/.", "s3://public/private", "s3://public/private/x", "s3://public/./private/x", "s3://public/PRIVATE/x"),
    *("hf://secret-org/m", "hf://Secret-Org/m", "hf://datasets/secret-org/m@main", "hf://org/m@../../secret-org/m", "hf://../m"),
)
ENDPOINTS = (
    *(
        "https://evil.com#.corp.example",
        "https://s3.corp.example@evil.com",
        "https://evil.com?.corp.example",
        "https://evil.com/.corp.example",
    ),
    *("https://evil.com\\.corp.example", "https://evil.com%2f.corp.example", "https://.corp.example", "https://s3.corp.example:8443"),
    *(
        "http://s3.corp.example",
        "http://minio.store",
        "http://minio.store:90000",
        "http://[::ffff:169.254.169.254]",
        "http://169.254.169.254",
    ),
    *("http://2852039166", "http://0xa9fea9fe", "https://gate.example/s3/../admin", "https://gate.example/s3/%2e%2e/admin"),
    *(
        "https://gate.example/s3-evil",
        "https://gate.example",
        "https://s3.corp.example\t.evil.com",
        "https://s3\u3002evil.com/.corp.example",
    ),
    *("http://[fe80::1%25eth0]:9000", "https://", "https://s3.corp.example.evil.com", "https://s3.corp.example/\r\nHost: evil"),
)
SECRETS = ("root", "ser-admin", "ser-admin-2", "*", "../team-b/ser-x", "")
OF_PODS = {
    "everything tolerated": prepare(tolerations=[{"operator": "Exists"}]),
    "an empty taint": prepare(tolerations=[{"key": "", "operator": "Exists"}]),
    "a pattern as a taint": prepare(tolerations=[{"key": "*", "operator": "Exists"}]),
    "the second taint": prepare(tolerations=[{"key": key, "operator": "Exists"} for key in ("gpu", "node-role.kubernetes.io/master")]),
    "the cluster's priority": prepare(priorityClassName="system-node-critical"),
    "another priority": prepare(priorityClassName="high"),
    "a forbidden pool": prepare(nodeSelector={"pool": "admin"}),
    "a forbidden pool in capitals": prepare(nodeSelector={"pool": "Admin"}),
    "another label": prepare(nodeSelector={"node-role.kubernetes.io/control-plane": ""}),
    "nodes": prepare(nodes=5),
    "GPUs": {"resources": {"ppo": {"nodes": 3, "gpus": 3}}},
    "another team's queue": {"queueName": "team-b-q"},
    "a queue of nearly the same name": {"queueName": "team-ab"},
    "a pool among others": label("pool", "In", "a", "admin"),
    "all pools but one": label("pool", "NotIn", "a"),
    "any pool": label("pool", "Exists"),
    "a pool, the operator misspelt": label("pool", "in", "admin"),
    "a node": nodes(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["master-0"]}]),
    "a hundred thousand nodes": label("pool", "In", *map(str, range(100_000))),
    "values that are no list": nodes(matchExpressions=[{"key": "pool", "operator": "In", "values": "admin"}]),
    "GPUs by a template": pod(resources={"nvidia.com/gpu": "8"}),
    "GPUs of another maker": pod(resources={"amd.com/gpu": "8"}),
    "GPUs of a sidecar": sidecar(resources={"requests": {"nvidia.com/gpu": "8"}}),
    "all GPUs of a node": variable("NVIDIA_VISIBLE_DEVICES"),
    "all GPUs, by a sidecar": sidecar(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]),
    **{f"a volume of {kind}": volume(**{kind: {}}) for kind in ("hostPath", "csi", "nfs", "image", "iscsi", "downwardAPI", "gitRepo")},
    "a token": volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}),
    "two kinds in one": volume(emptyDir={}, hostPath={"path": "/"}),
    "another claim": volume(persistentVolumeClaim={"claimName": "theirs"}),
    "the data of another claim": claim(dataSource={"kind": "PersistentVolumeClaim", "name": "theirs"}),
    "the data of another namespace": claim(dataSourceRef={"kind": "PersistentVolumeClaim", "name": "theirs", "namespace": "team-b"}),
    "a chosen disk": claim(volumeName="theirs"),
    "a disk by its labels": claim(selector={}),
    "the keys' volume": pod(volumeMounts=[{"name": "storage-credentials", "mountPath": "/x"}]),
    "the keys' name": pod(volumes=[{"name": "storage-credentials", "emptyDir": {}}]),
    **{
        f"a mount at {path}": mount(path)
        for path in ("/", "/opt/ser", "/usr/bin", "/etc/python3.12", "work", "/tmp/../work", "/proc/1/root")
    },
    "a preloaded library": mount("/etc/ld.so.preload", subPath="x"),
    **{
        f"other addresses of hosts, by {path}": mount(path, subPath="x")
        for path in ("/etc/hosts", "/etc/./resolv.conf", "/etc/nsswitch.conf")
    },
    "a path out of variables": mount("/x", subPathExpr="$(A)"),
    "a mount for others": mount("/x", mountPropagation="Bidirectional"),
    **{f"the variable {name}": variable(name) for name in ("SER_STAGE", "HF_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE")},
    "a variable out of a Secret": variable("A", valueFrom={"secretKeyRef": {"name": "root", "key": "k"}}),
    "a variable out of a file": variable("A", valueFrom={"fileKeyRef": {"path": "x", "volumeName": "a", "key": "k"}}),
    "all variables of a Secret": pod(envFrom=[{"configMapRef": {"name": "a"}, "secretRef": {"name": "root"}}]),
    "variables with a prefix": pod(envFrom=[{"configMapRef": {"name": "a"}, "prefix": "AWS_"}]),
    **{f"the ServiceAccount {name}": pod(serviceAccountName=name) for name in ("ser-operator", "cloud-team-b", "cloud-*")},
    "a pull Secret": pod(imagePullSecrets=[{"name": "root"}]),
    "a RuntimeClass": pod(runtimeClassName="runc"),
    "a scheduler": pod(schedulerName="mine"),
    "a topology": pod(topologySpreadConstraints=[{"topologyKey": "rack"}]),
    "a device": pod(resourceClaims=[{"name": "a", "resourceClaimName": "theirs"}]),
    **{f"the label {key}": pod(labels={key: "x"}) for key in ("app.kubernetes.io/name", "ser.dev/stage", "role")},
    "an unconfined process": pod(annotations={"container.apparmor.security.beta.kubernetes.io/stage": "unconfined"}),
    **{f"the image {image}": sidecar(image=image) for image in ("evil.example/x", "registry.example.evil.com/x", "registry.example")},
    "the stage's name": sidecar(name="stage"),
    **{f"a sidecar's {key}": sidecar(**{key: {}}) for key in ("securityContext", "ports", "lifecycle", "restartPolicy", "volumeDevices")},
    "a sidecar with the keys": sidecar(volumeMounts=[{"name": "storage-credentials", "mountPath": "/x"}]),
    "the node's network": pod(hostNetwork=True),
    "a later stage": {"resources": {"ppo": {"podTemplate": {"serviceAccountName": "root"}}}},
    "a run of another namespace": {"from": {"run": "../team-b/x"}},
}
CATALOGUE = {
    **{f"reads {uri!r}": data(uri) for uri in (*URIS, *READ)},
    **{f"learns from {uri!r}": model(uri) for uri in (*URIS, *READ)},
    **{f"writes {uri!r}": storage(uri=uri) for uri in URIS},
    **{f"stores at {url!r}": storage(endpoint=url) for url in ENDPOINTS},
    **{f"asks the hub {url!r}": hub(url) for url in ENDPOINTS},
    "a token in clear": hub("http://minio.store:9000", "ser-hub"),
    "a region that is a host": storage(region="evil.com/"),
    **{f"the Secret {name!r}": storage(credentialsSecret=name) for name in SECRETS},
    **{f"certificates of {name!r}": storage(caBundleFrom={"secret": name}) for name in SECRETS},
    **OF_PODS,
}


def told(spec):
    """Why a run is refused; empty: it is not."""
    body = {"metadata": {"name": "hh", "namespace": "team-a"}, "spec": merged(SPEC, spec)}
    try:
        run = SERRun.model_validate(body, context=NEW)
    except ValidationError as error:
        return str(error)
    return refusal(body, run, Settings(image="any", allow=ALLOW), judged(body, run))


@pytest.mark.parametrize("spec", CATALOGUE.values(), ids=CATALOGUE)
def test_it_is_refused(spec):
    assert told(spec)


@pytest.mark.parametrize(
    "spec",
    [
        data("s3://shared/team-a/x"),
        data("s3://public/x"),
        storage(endpoint="https://S3.corp.example:443/", credentialsSecret="ser-s3"),
        storage(endpoint="https://gate.example/s3/v1"),
        label("pool", "In", "gpu"),
        variable("NCCL_DEBUG"),
        mount("/models"),
        sidecar(),
    ],
)
def test_what_is_beside_it_is_not(spec):
    assert told(spec) == ""


def test_too_much_to_compare_is_refused_before_it_is_compared():
    assert "asks for more than 1,000 things" in told(label("pool", "In", *map(str, range(1000)), "admin"))
    assert "'pool=admin'" in told(label("pool", "In", *map(str, range(998)), "admin"))
