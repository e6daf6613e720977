"""One SERRun as a user of a cluster runs it: applied by kubectl, computed by real stages in pods, stored in a real S3 server.

The command of each pod is started, and not played by a process that has loaded its libraries already.
"""

import json
import time

import pytest
import yaml
from comparable import comparable

from controlplane.faults.fault_proxy import FaultProxy
from controlplane.faults.scenario import ROOT
from controlplane.plane.operator_process import OperatorProcess
from ser_core.api.serrun import SERRun
from ser_core.api.status import SERRunStatus
from ser_core.store.stages.manifest import Manifest

NAME, SECRET, BUCKET = "tiny", "ser-s3", "runs"
TIMES = ("startedAt", "finishedAt", "lastTransitionTime")


@pytest.fixture(scope="module")
def inputs(s3, tiny_model, pairs_file):
    """The tiny model and the tiny data in a bucket."""
    s3.create_bucket(BUCKET)
    client = s3.client()
    for path in [*tiny_model.iterdir(), pairs_file]:
        folder = "model" if path.parent == tiny_model else "data"
        client.upload_file(str(path), BUCKET, f"inputs/{folder}/{path.name}")
    client.close()
    return {"model": f"s3://{BUCKET}/inputs/model", "data": f"s3://{BUCKET}/inputs/data/{pairs_file.name}"}


def document(s3, inputs, prefix, **more):
    """The SERRun of the quickstart's kind, in small."""
    return {
        "apiVersion": "ser.dev/v1alpha1",
        "kind": "SERRun",
        "metadata": {"name": NAME},
        "spec": {
            "rewardModel": {"base": inputs["model"], "maxLength": 32, "precision": "fp32"},
            "data": {"source": {"uri": inputs["data"], "seedFraction": 0.3, "heldoutFraction": 0.2}},
            "training": {"epochs": 3, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
            "loop": {"maxIterations": 1, "controls": ["seedOnly"]},
            "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain")},
            "storage": {"uri": f"s3://{BUCKET}/{prefix}", "endpoint": s3.endpoint, **more},
        },
    }


def manifests(s3, prefix):
    """Every manifest below a prefix by its place, without UID, attempt, writer and times."""
    client = s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if entry["Key"].endswith("MANIFEST.json")]
    found = {}
    for key in keys:
        content = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        found["/".join(key.split("/")[-3:-1])] = comparable(Manifest.model_validate_json(content))
    client.close()
    return found


@pytest.fixture(scope="module")
def completed(control_plane, kubelet, s3, inputs, tmp_path_factory, crd):
    """The run after `kubectl apply` and `kubectl wait`, with everything that the operator did."""
    folder, namespace = tmp_path_factory.mktemp("operator"), "whole-run"
    kubelet.double, kubelet.warm = None, False
    kubectl = lambda *words, **more: control_plane.kubectl(*words, **{"timeout": 620, **more}).stdout  # noqa: E731
    kubectl("create", "namespace", namespace)
    kubectl("apply", "--namespace", namespace, "-f", str(ROOT / "operator" / "rbac.yaml"))
    literals = [f"--from-literal={key}={value}" for key, value in s3.credentials.items()]
    kubectl("create", "secret", "generic", SECRET, "--namespace", namespace, *literals)
    with FaultProxy(control_plane.server, control_plane.certificate) as proxy:
        kubeconfig = proxy.kubeconfig(folder, control_plane.token(f"{namespace}/ser-operator"), namespace)
        operator = OperatorProcess(kubeconfig, namespace, folder, code=ROOT).start()
        try:
            kubectl(
                "apply", "--namespace", namespace, "-f", "-", input=json.dumps(document(s3, inputs, "cluster", credentialsSecret=SECRET))
            )
            kubectl("wait", "--namespace", namespace, "--for=condition=Completed", "--timeout=600s", f"serrun/{NAME}")
            run = json.loads(kubectl("get", "serrun", NAME, "--namespace", namespace, "-o", "json"))
            yield run, proxy, operator
        finally:
            operator.kill()
            kubelet.warm = True


def test_kubectl_apply_runs_all_stages_to_completed(completed, s3):
    run, proxy, _ = completed

    status = SERRunStatus.model_validate(run["status"])

    assert [row.iteration for row in status.iterations] == [0, 1]
    assert status.reward_model.accuracy > 0.7
    assert set(manifests(s3, "cluster")) == {
        "iter-0000/prepare",
        "iter-0000/retrain",
        "iter-0001/label",
        "iter-0001/filter",
        "iter-0001/retrain",
        "iter-0000/control-seed-only",
    }
    assert proxy.writes().count("create jobs") == 6


def test_the_same_spec_gives_the_same_result_under_ser_run_and_under_the_operator(completed, s3, inputs, local_run):
    """The differential test: one planner, one store protocol, two executors."""
    run = completed[0]

    local = local_run(document(s3, inputs, "local"), s3.credentials)

    assert manifests(s3, "local") == manifests(s3, "cluster")
    for name in ("iterations", "controls"):
        assert [without_times(row) for row in local[name]] == [without_times(row) for row in run["status"][name]]
    assert local["bestIteration"] == run["status"]["bestIteration"]
    assert local["rewardModel"]["accuracy"] == run["status"]["rewardModel"]["accuracy"]


def test_a_second_run_takes_everything_over_from_the_first(completed, control_plane, s3, inputs):
    """Under the operator, from S3: each stage's pod finds the leader by its name, and nothing is computed or copied."""
    namespace, uid = completed[0]["metadata"]["namespace"], completed[0]["metadata"]["uid"]
    kubectl = lambda *words, **more: control_plane.kubectl(*words, **{"timeout": 620, **more}).stdout  # noqa: E731
    follower = document(s3, inputs, "cluster", credentialsSecret=SECRET)
    follower["metadata"]["name"] = "follower"
    follower["spec"]["from"] = {"run": NAME}
    before = set(stored(s3, "cluster"))

    kubectl("apply", "--namespace", namespace, "-f", "-", input=json.dumps(follower))
    kubectl("wait", "--namespace", namespace, "--for=condition=Completed", "--timeout=600s", "serrun/follower")

    status = json.loads(kubectl("get", "serrun", "follower", "--namespace", namespace, "-o", "json"))["status"]
    assert {(row["outcome"], row["reason"]) for row in status["stages"]} == {("Done", "TakenOver")}
    assert status["rewardModel"]["accuracy"] == completed[0]["status"]["rewardModel"]["accuracy"]
    added = {key.split("/")[-1] for key in set(stored(s3, "cluster")) - before}
    followed = json.loads(kubectl("get", "serrun", "follower", "--namespace", namespace, "-o", "json"))["metadata"]["uid"]
    assert added == {"MANIFEST.json", "log.jsonl", "from.json", f"{followed}.json"}
    assert f"cluster/{namespace}/{NAME}/{uid}/followers/{followed}.json" in set(stored(s3, "cluster"))


def stored(s3, prefix):
    """Every key below a prefix."""
    client = s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    client.close()
    return keys


def without_times(row):
    """What two runs of one spec have alike: a manifest names its run, and the API server holds no nulls."""
    same = {name: without_times(value) if isinstance(value, dict) else value for name, value in row.items()}
    return {name: value for name, value in same.items() if name not in (*TIMES, "digest") and value is not None}


@pytest.fixture
def local_run(tmp_path):
    """Runs a document by `ser run`; returns the status that it ends with."""
    import os
    import subprocess
    import sys

    def run(content, credentials):
        file = tmp_path / "serrun.yaml"
        file.write_text(yaml.safe_dump(content))
        command = [sys.executable, "-m", "ser_core.cli.app"]
        environment = {**os.environ, **credentials}
        ended = subprocess.run([*command, "run", str(file)], env=environment, capture_output=True, text=True, timeout=620)
        assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
        said = subprocess.run([*command, "status", "-o", "json", str(file)], env=environment, capture_output=True, text=True, timeout=300)
        return json.loads(said.stdout)["status"]

    return run


def test_the_operator_needs_exactly_the_rights_that_it_has(completed, control_plane):
    """The shipped Role against the API server's audit log of everything that operators did in this session."""
    role = next(part for part in yaml.safe_load_all((ROOT / "operator" / "rbac.yaml").read_text()) if part["kind"] == "Role")
    granted = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    time.sleep(0.5)  # the audit log is written in batches

    used, refused = set(), set()
    events = [event for event in control_plane.audit_events() if "objectRef" in event]
    deletions = [event["objectRef"] for event in events if event["verb"] == "delete" and event["objectRef"]["resource"] == "namespaces"]
    deleted = {reference["name"] for reference in deletions}  # the Role went with them
    for event in events:
        if event["user"]["username"].endswith(":ser-operator"):
            reference = event["objectRef"]
            resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            if event.get("responseStatus", {}).get("code") != 403:
                used.add((resource, event["verb"]))
            elif reference.get("namespace") not in deleted:
                refused.add((resource, event["verb"]))

    assert ("secrets", "get") not in granted
    assert refused == set()
    # used by gangs, queues and templates of runs
    elsewhere = {("services", "create"), ("services", "get"), ("workloads", "list"), ("serruntemplates", "get")}
    assert granted - used <= {("serruns/finalizers", "update"), ("jobs", "delete"), ("jobs", "get"), ("events", "list"), *elsewhere}
    assert used - granted == set()


def test_a_serrun_reads_back_as_it_was_written(completed):
    assert SERRun.model_validate(completed[0]).spec.loop.max_iterations == 1


def test_the_operator_says_that_it_lives_and_what_it_does(completed):
    operator = completed[2]

    assert operator.page("/livez") == operator.page("/readyz") == "ok\n"
    metrics = operator.page("/metrics")
    assert any(f'ser_operator_runs{{phase="Completed"}} {runs}.0' in metrics for runs in (1, 2))  # the one that took over may have ended
    assert 'ser_operator_reconciles_total{result="ok"}' in metrics
    assert f'ser_run_phase{{namespace="whole-run",run="{NAME}",phase="Completed"}} 1.0' in metrics
