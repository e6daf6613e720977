"""Upgrade and rollback in the midst of whole runs, with real stages: what they make is what an undisturbed run makes (`make skew`)."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from comparable import comparable

from controlplane.cluster import S3Server
from controlplane.faults.scenario import ROOT
from ser_core.store.stages.manifest import Manifest
from skew.cluster import apply_crd, at, operated, skew_cluster
from skew.trees import COMMITS, later_tree, python_path, tree_of

BUCKET, SECRET = "runs", "ser-s3"
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The code of every version, by what it is called here."""
    earlier, bearing = (tree_of(COMMITS[name]) for name in ("upgrade_from", "rollback_to"))
    return {"earlier": earlier, "bearing": bearing, "this": ROOT, "later": later_tree(tmp_path_factory.mktemp("later"))}


@pytest.fixture(scope="module")
def s3(tmp_path_factory, tiny_model, pairs_file):
    """A store with the tiny model and the tiny data."""
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket(BUCKET)
        client = server.client()
        for path in [*tiny_model.iterdir(), pairs_file]:
            client.upload_file(str(path), BUCKET, f"inputs/{'model' if path.parent == tiny_model else 'data'}/{path.name}")
        client.close()
        yield server


def spec(s3, pairs_file, prefix, **storage):
    return {
        "rewardModel": {"base": f"s3://{BUCKET}/inputs/model", "maxLength": 32, "precision": "fp32"},
        "data": {"source": {"uri": f"s3://{BUCKET}/inputs/data/{pairs_file.name}", "seedFraction": 0.3, "heldoutFraction": 0.2}},
        "training": {"epochs": 2, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
        "loop": {"maxIterations": 1},
        "resources": {kind: {"cpu": "1"} for kind in ("prepare", "label", "filter", "retrain")},
        "storage": {"uri": f"s3://{BUCKET}/{prefix}", "endpoint": s3.endpoint, **storage},
    }


def made(s3, prefix):
    """What a run has made, by stage, without who made it and when."""
    client = s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if entry["Key"].endswith("MANIFEST.json")]
    contents = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
    client.close()
    return {"/".join(key.split("/")[-3:-1]): comparable(Manifest.model_validate_json(text)) for key, text in contents.items()}


def run_undisturbed(s3, document, tree, folder):
    """`ser run` of a version."""
    file = folder / "serrun.yaml"
    file.write_text(yaml.safe_dump({"apiVersion": "ser.dev/v1alpha1", "kind": "SERRun", "metadata": {"name": "alone"}, "spec": document}))
    environment = {**os.environ, **s3.credentials, "PYTHONPATH": python_path(tree)}
    command = [sys.executable, "-P", "-m", "ser_core.cli.app", "run", str(file)]
    # Not in this checkout: the stages that it starts would take their code from there.
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]


@pytest.mark.parametrize(
    ("image", "operators"),
    [
        ("earlier", ("earlier", "this")),
        ("earlier", ("this",)),
        ("this", ("this", "bearing", "this")),
        ("bearing", ("bearing", "this")),
        ("later", ("later", "bearing")),
    ],
    ids=["upgrade", "an-old-image", "rollback-and-back", "upgrade-from-bearing", "rollback-from-later"],
)
def test_a_run_makes_what_it_makes_undisturbed_whatever_versions_have_it(trees, s3, pairs_file, tmp_path, image, operators):
    """Each operator but the first takes the run over while a stage runs: the training of the seed model, then the labelling."""
    prefix = f"{image}-{'-'.join(operators)}"
    crds = [name for name in ("earlier", "this", "later") if name in operators] or ["this"]
    with skew_cluster(tmp_path, image=trees[image]) as cluster:
        apply_crd(cluster.plane, trees[crds[0]])
        with cluster.scenario(tmp_path / "operator") as scenario:
            secret = {"metadata": {"name": SECRET}, "stringData": s3.credentials}
            scenario.api.create(scenario.collection("secrets"), secret)
            gates = {stage: scenario.hold(stage) for stage in ("retrain", "label")[: len(operators) - 1]}
            scenario.apply(**spec(s3, pairs_file, prefix, credentialsSecret=SECRET))
            for name in operators:
                apply_crd(cluster.plane, trees[crds[-1]] if name != operators[0] else trees[crds[0]])
                with operated(scenario, trees[name]):
                    stage = next(iter(gates), None)
                    if stage is None:
                        scenario.wait_for_end(900)
                        break
                    gate = gates.pop(stage)
                    gate.wait_for_pod(600)
                    scenario.wait(at(stage))
                gate.release()
            status = scenario.status()
            assert status["phase"] == "Completed", json.dumps(status)
            assert [row["outcome"] for row in status["stages"]] == ["Done"] * len(status["stages"])
            assert scenario.operator.defects() == []
    run_undisturbed(s3, spec(s3, pairs_file, f"{prefix}-alone"), trees[image], tmp_path)
    assert made(s3, prefix) == made(s3, f"{prefix}-alone")
