"""What the API server accepts: good specs, and every status that the planner can write."""

import json
from pathlib import Path

import pytest
from e2e.admission.serruns import GOOD, changed, collection
from unit.loop import conftest as planner
from unit.loop.recording.test_status_size import worst

from controlplane.cluster import ApiError
from ser_core.api.serrun import SERRun
from ser_core.api.status import SERRunStatus

FILES = {name: {"uri": f"s3://bucket/{name}"} for name in ("seed", "unlabeled", "heldout")}
LABELING = "spec.resources.label"
LONG = "s3://bucket/" + "é" * 512
GOOD_CHANGES = [
    ("metadata.name", "a" * 253),
    ("spec.policy", None),
    ("spec.policy", {"base": "hf://a/b"}),
    (
        "spec.policy",
        {"base": "s3://bucket/policy", "prompts": {"uri": "s3://bucket/prompts"}, "sft": {}, "adapter": {}, "kl": {"target": 6}},
    ),
    ("spec.queueName", None),
    ("spec.rewardModel.adapter", None),
    ("spec.rewardModel.adapter", {}),
    ("spec.data", {"source": {"uri": "hf://datasets/a/b@main"}, "seed": None}),
    ("spec.data", {**FILES, "source": None}),
    ("spec.loop.thresholds", {"low": 0, "high": 1}),
    ("spec.activeDeadline", "0h0m1s"),
    ("spec.queueName", "a" * 63),
    ("spec.storage.uri", "s3://bucket"),
    ("spec.storage.uri", "s3://bucket/pairs2"),
    ("spec.storage.uri", "s3://bucket/; rm -rf ~/`x`/$(AWS_SECRET_ACCESS_KEY)/--force/%2e%2e/e😀"),
    ("spec.storage.uri", LONG),
    ("spec.storage.endpoint", "http://127.0.0.1:9000"),
    ("spec.storage.region", "RegionOne"),
    ("spec.storage.uri", "s3://runs_of_us/x"),
    ("spec.storage.caBundleFrom", {"configMap": "authorities", "key": "root.pem"}),
    (LABELING, {"cpu": 4, "memory": 1073741824}),
    (LABELING, {"cpu": "0.5", "memory": "1.5Gi"}),
    ("spec.activeDeadline", "87600h"),
    (f"{LABELING}.nodeSelector", {"example.com/pool": "", "kubernetes.io/arch": "amd64"}),
    (f"{LABELING}.tolerations", [{"operator": "Exists"}, {"key": "a/b", "value": "c", "effect": "NoExecute", "tolerationSeconds": 0}]),
]


@pytest.mark.parametrize(("path", "value"), GOOD_CHANGES)
def test_a_good_spec_is_accepted_and_read_alike(control_plane, crd, path, value):
    stored = control_plane.api().create(f"{collection('default')}?dryRun=All&fieldValidation=Strict", changed(path, value))
    assert SERRun.model_validate({**stored, "status": {}}).spec == SERRun.model_validate(changed(path, value)).spec


def test_a_null_section_gets_its_defaults(control_plane, crd):
    nothing = changed("spec", {**GOOD["spec"], "hub": None, "loop": None, "training": {"epochs": None}})
    stored = control_plane.api().create(f"{collection('default')}?dryRun=All", nothing)
    assert SERRun.model_validate(stored).spec == SERRun.model_validate(GOOD).spec


def test_the_examples_are_accepted_but_for_files(control_plane, crd):
    for file in (Path(__file__).parents[3] / "examples").glob("*.yaml"):
        ended = control_plane.kubectl("create", "--dry-run=server", "-f", str(file), check=False)
        assert "file:// is for ser run alone" in ended.stderr if "file://" in file.read_text() else ended.returncode == 0, ended.stderr


def worst_status():
    """The largest status of a run of 32 iterations in which everything fails with as much to say as the contract allows."""
    text = "😀"
    results = planner.Results(dev=[0.9, *(0.8 - n / 3000 for n in range(32))], heldout=2 / 3, agreement=2 / 3, notes=(text * 400,))
    loop = {"maxIterations": 32, "controls": ["pseudoLabelOnce", "full", "seedOnly"], "stopping": {"patience": 32, "rollback": "none"}}
    spec = {**GOOD["spec"], "loop": loop, "policy": {"base": "hf://a/b", "sft": {}}}
    run = SERRun.model_validate(GOOD | {"metadata": {"name": "n" * 253, "uid": "u" * 36}, "spec": spec})
    world = planner.World(run, results)
    world.uri = "s3://" + "b" * (1200 - len("s3:///iter-0000/control-pseudo-label-once/MANIFEST.json"))
    world.image = "i" * 512
    written, ends = [], ["failed", "interrupted", "interrupted", "failed", "done"]
    while world.status.phase not in ("Completed", "Failed"):
        world.wait(301)
        if world.live():
            outcome = ends[(world.live()[0].attempt - 1) % len(ends)]
            world.end(outcome, **({} if outcome == "done" else worst(text)), checkpoint_step=10**6)
        world.reconcile()
        written.append(world.status)
    return max(written, key=lambda status: len(status.model_dump_json(by_alias=True)))


def test_the_worst_status_is_accepted_and_read_back_as_it_was(control_plane, crd, namespace):
    api, status = control_plane.api(), worst_status()
    api.create(collection(namespace), GOOD)
    body = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    stored = api.patch(f"{collection(namespace)}/hh/status?fieldValidation=Strict", {"status": body})
    assert len(status.iterations) > 30
    assert len(json.dumps(body)) > 20_000
    assert SERRunStatus.model_validate(stored["status"]) == status


def test_two_conditions_of_one_type_are_refused(control_plane, crd, namespace):
    api = control_plane.api()
    api.create(collection(namespace), GOOD)
    ready = {"type": "Ready", "status": "True", "reason": "Because"}
    with pytest.raises(ApiError) as error:
        api.patch(f"{collection(namespace)}/hh/status", {"status": {"conditions": [ready, ready]}})
    assert error.value.message == 'SERRun.ser.dev "hh" is invalid: status.conditions[1]: Duplicate value: {"type":"Ready"}'
