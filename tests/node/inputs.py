"""What the runs of the stories read and how large they are: models of a few thousand weights, in a bucket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from documents import shown

from node.machine import addresses
from node.machine.cluster import Cluster

BUCKET, SECRET, README_RUN = "bucket", "ser-s3", "mine"
STORE = f"http://store.default.svc:{addresses.STORE_PORT}"
"""By name, so that every stage asks the cluster's DNS."""
STAGES = ("prepare", "label", "filter", "retrain", "sft", "ppo")
POLICY = {
    "base": f"s3://{BUCKET}/policy",
    "sft": {"epochs": 3, "learningRate": 0.01, "answersPerStep": 8},
    "steps": 60,  # the stage must last for Prometheus, which hears of new pods every 5 s
    "rolloutsPerStep": 8,
    "promptTokens": 48,
    "answerTokens": 12,
    "learningRate": 1e-3,
    "precision": "fp32",
}

COPIES = 40
"""How often the pairs stand in the large data set, each time with another word in front of the prompt."""
LONG: dict[str, Any] = {
    "data": {"source": {"uri": f"s3://{BUCKET}/many-pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.1}},
    "training": {"epochs": 100, "learningRate": 0.001, "pairsPerStep": 8, "tokensPerBatch": 512},
}
"""A run whose first training lasts longer than any story: 36,000 steps."""


def upload(cluster: Cluster, model: Path, policy: Path, pairs: Path) -> None:
    """Put models and data into the bucket, and give the store a name in the cluster."""
    cluster.store.create_bucket(BUCKET)
    client = cluster.store.client()
    for name, folder in (("model", model), ("policy", policy)):
        for file in folder.iterdir():
            client.upload_file(str(file), BUCKET, f"{name}/{file.name}")
    client.upload_file(str(pairs), BUCKET, "pairs.jsonl")
    client.put_object(Bucket=BUCKET, Key="many-pairs.jsonl", Body="".join(_many(pairs)).encode())
    client.close()
    api, port = cluster.plane.api(), {"name": "s3", "port": addresses.STORE_PORT, "protocol": "TCP"}
    api.create("/api/v1/namespaces/default/services", {"metadata": {"name": "store"}, "spec": {"ports": [port]}})
    labels = {"kubernetes.io/service-name": "store"}
    ends = {"addressType": "IPv4", "ports": [port], "endpoints": [{"addresses": [addresses.STORE], "conditions": {"ready": True}}]}
    api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {"metadata": {"name": "store", "labels": labels}, **ends})


def _many(pairs: Path) -> Iterator[str]:
    for row in map(json.loads, pairs.read_text().splitlines()):
        yield from (json.dumps({**row, "prompt": f"x{copy} {row['prompt']}"}) + "\n" for copy in range(COPIES))


def spec(name: str, **changes: Any) -> dict[str, Any]:
    """A spec of one loop without a policy; ``changes`` replace whole fields."""
    return {
        "rewardModel": {"base": f"s3://{BUCKET}/model", "maxLength": 32, "precision": "fp32"},
        "data": {"source": {"uri": f"s3://{BUCKET}/pairs.jsonl", "seedFraction": 0.3, "heldoutFraction": 0.2}},
        "training": {"epochs": 3, "learningRate": 0.01, "pairsPerStep": 8, "tokensPerBatch": 512},
        "loop": {"maxIterations": 1},
        "resources": resources(),
        "storage": {"uri": f"s3://{BUCKET}/runs/{name}", "endpoint": STORE, "credentialsSecret": SECRET},
        **changes,
    }


def of_readme() -> dict[str, Any]:
    """README's SERRun with the small models, data and trainings of here, one loop in place of four, and a policy."""
    document = yaml.safe_load(shown("README.md", "On this machine", "yaml").text)
    assert document["metadata"]["name"] == README_RUN
    given, ours = document["spec"], spec(README_RUN, policy=POLICY)
    source = {**ours["data"]["source"], **given["data"]["source"], "uri": ours["data"]["source"]["uri"]}
    training = {**ours["training"], "epochs": 20}  # seen on a board, too
    return {**document, "spec": {**ours, "data": {"source": source}, "training": training, "loop": {**given["loop"], **ours["loop"]}}}


def resources(**stages: dict[str, Any]) -> dict[str, Any]:
    """Two pods at once fit beside the operator on two processors."""
    return {stage: {"cpu": "700m", **stages.get(stage, {})} for stage in STAGES}
